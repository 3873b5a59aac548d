import gc
import os

os.environ.setdefault("MPLBACKEND", "Agg")  # figures are drawn, none is shown

import pytest
import torch
from hypothesis import settings

# A first call may import for seconds; how long an example takes is not what is tested.
settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser):
    parser.addoption(
        "--all-families", action="store_true", help="convert a model of every timm family"
    )


def pytest_collection_finish():
    """What was imported and collected stays, so the garbage collector need not look at it."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Synthetic data of a test run are rendered in that run, and leave nothing at home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TSSBN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder of saved runs that there is, empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tssbn.records.store.PUBLISHED", ())
    return tmp_path / "data/results"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, of a user without data; it is a checkout's, with a place for runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TSSBN_DATA", raising=False)
    (tmp_path / "data/results").mkdir(parents=True)
    return tmp_path


@pytest.fixture(autouse=True)
def reproducible():
    """Every test starts from the same seed, on one thread, and leaves the defaults alone."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    assert torch.get_default_dtype() is torch.float32, "the test changed the default dtype"
