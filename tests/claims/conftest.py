"""Fixtures of the tests of claims."""

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder of saved runs that there is, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tssbn.records.store.PUBLISHED", ())
    return tmp_path / "data/results"
