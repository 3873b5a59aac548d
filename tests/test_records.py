"""Records are read from the checkout, or from the repository."""

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tssbn.training import records


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A server in the repository's place, and a working folder without records."""
    served, here = tmp_path / "served", tmp_path / "here"
    served.mkdir()
    here.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=served))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(records, "RESULTS", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.chdir(here)
    yield served
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("folder", ["data/results", "../data/results"])
def test_the_checkout_comes_first(repository, tmp_path, folder):
    (repository / "a.json").write_text('{"from": "repository"}')
    place = tmp_path / "here" / folder
    place.mkdir(parents=True)
    (place / "a.json").write_text('{"from": "here"}')
    assert records.read("a.json") == {"from": "here"}


def test_elsewhere_it_comes_from_the_repository(repository):
    (repository / "set").mkdir()
    (repository / "set/a.json").write_text(json.dumps({"x": [1, 2]}))
    assert records.read("set/a.json") == {"x": [1, 2]}


def test_what_is_missing_or_broken_is_named(repository, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no record 'b\.json'.*404"):
        records.read("b.json")
    (repository / "c.json").write_text("{")
    with pytest.raises(ValueError, match=r"'c\.json' is not JSON"):
        records.read("c.json")
    monkeypatch.setattr(records, "RESULTS", "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(FileNotFoundError, match=r"no record 'c\.json'"):
        records.read("c.json")
