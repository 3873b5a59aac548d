"""Fetching the published saved runs: whole or not at all, once, and with a way out."""

import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tssbn.records import download, fetch, load

FILES = {
    "repo-main/README.md": b"not wanted",
    "repo-main/data/results/faces/stl-0.json": b'{"seed": 0}',
    "repo-main/data/results/faces/stl-1.json": b'{"seed": 1}',
    "repo-main/data/queue.toml": b"not wanted",
    "repo-main/other/data/results/faces/stl-2.json": b"not wanted",
}


def archive(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server in the repository's place; what it sends is an attribute, None for a 404."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            served.asked += 1
            if served.body is None:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(served.body)))
            self.end_headers()
            self.wfile.write(served.body)

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.body, served.asked = archive(FILES), 0
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setattr(download, "ARCHIVE", f"http://127.0.0.1:{served.server_port}/main.tar.gz")
    monkeypatch.setenv("TSSBN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield served
    served.shutdown()
    served.server_close()


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_only_saved_runs_are_kept_and_are_found(server, tmp_path, capsys):
    place = fetch()
    assert place == tmp_path / "cache/results"
    assert files(tmp_path) == ["cache/results/faces/stl-0.json", "cache/results/faces/stl-1.json"]
    assert load("faces/stl-1") == {"seed": 1}
    assert capsys.readouterr().out == f"2 saved runs are in {place}\n"


def test_they_are_fetched_once_and_anew_when_asked(server, tmp_path, capsys):
    fetch()
    server.body = archive({"repo-main/data/results/faces/stl-7.json": b'{"seed": 7}'})
    fetch()
    assert server.asked == 1 and load("faces/stl-0") == {"seed": 0}
    fetch(again=True)
    assert server.asked == 2
    assert files(tmp_path) == ["cache/results/faces/stl-7.json"]  # nothing of the former is left
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 saved runs are in")


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (None, "404"),
        (archive(FILES)[:200], "not a whole zip or tar file"),
        (b"<html>", "not a whole zip or tar file"),
        (archive({"repo-main/README.md": b""}), "holds no data/results"),
        (archive(FILES | {"repo-main/data/results/../../../../x.json": b"{}"}), r"x\.json"),
    ],
    ids=["no such address", "cut short", "a page", "no saved runs", "leads out"],
)
def test_what_fails_leaves_nothing_and_names_the_way_out(server, tmp_path, body, cause):
    server.body = body
    with pytest.raises(OSError, match=f"not fetched: .*{cause}.* copy the folder data/results"):
        fetch()
    assert files(tmp_path) == []


def test_a_failure_keeps_what_was_fetched_before(server, tmp_path):
    fetch()
    server.body = archive(FILES)[:200]
    with pytest.raises(OSError, match="not fetched"):
        fetch(again=True)
    assert load("faces/stl-0") == {"seed": 0}


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("TSSBN_CACHE", str(tmp_path))
    monkeypatch.setattr(download, "ARCHIVE", "http://127.0.0.1:9/main.tar.gz")  # nobody listens
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(OSError, match=f"not fetched: .* copy .* to {tmp_path / 'results'}"):
        fetch()
    assert files(tmp_path) == []
