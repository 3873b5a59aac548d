"""Saved runs as files: where they are read from, how they are written."""

import json
import threading

import pytest

from tssbn.records import folders, load, load_all, results_dir, store, write


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The three places of saved runs, none of which is there: here, above, and the package's."""
    here = tmp_path / "above/here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    package = tmp_path / "tssbn/results"
    monkeypatch.setattr(store, "PUBLISHED", (package,))
    return [here / "data/results", here.parent / "data/results", package]


def put(place, name, content):
    path = place / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def test_the_working_folder_comes_first_then_the_package(places):
    for number, place in reversed([*enumerate(places)]):
        put(place, "set/a", f'{{"from": {number}}}')
        assert load("set/a") == {"from": number}
        assert load_all("set") == [{"from": number}]
        assert len(folders()) == 3 - number


def test_runs_of_one_s_own_stand_beside_published_ones(places):
    put(places[0], "set/b", '{"mine": 1}')
    put(places[2], "set/a", '{"published": 1}')
    put(places[2], "set/b", '{"published": 2}')
    assert load("set/a") == {"published": 1} and load("set/b") == {"mine": 1}
    assert load_all("set") == [{"mine": 1}]
    assert load_all("set", places[2]) == [{"published": 1}, {"published": 2}]


def test_runs_are_never_written_into_the_package(places):
    places[2].mkdir(parents=True)
    assert results_dir().absolute() == places[0]
    places[1].mkdir(parents=True)
    assert results_dir().resolve() == places[1]
    assert write("set/a", {"x": 1}).resolve() == places[1] / "set/a.json"
    assert load("set/a") == {"x": 1}


def test_what_is_missing_or_broken_is_named(places):
    with pytest.raises(FileNotFoundError, match=r"'set/b' is not among .*data/results"):
        load("set/b")
    assert load_all("set") == []
    put(places[1], "set/c", "{")
    with pytest.raises(ValueError, match=r"set/c\.json is not JSON"):
        load("set/c")


def test_the_network_is_not_asked(places, monkeypatch):
    monkeypatch.setattr("socket.socket", lambda *_: pytest.fail("a connection was made"))
    with pytest.raises(FileNotFoundError):
        load("faces/stl-0")


def test_what_is_written_is_read(tmp_path):
    record = {
        "seconds": 1234567.8,
        "loss": [0.12345678, float("nan"), float("inf"), 1e-9],
        "tasks": ("a", "b"),
        "epochs": [{"epoch": 1, "test": {"a": {"x": 1.0}}}, {"epoch": 2, "test": {}}],
        "settings": {},
        "name": "TSσBN",
    }
    path = write("rooms/hps-0", record, tmp_path)
    assert path == tmp_path / "rooms/hps-0.json"
    text = path.read_text(encoding="utf-8")
    assert "NaN" not in text and "TSσBN" in text
    assert text.count('{"epoch"') == 2 and len(text.splitlines()) == 11  # a line for each epoch
    hidden = tmp_path / "rooms" / "._hps-0.json"  # as macOS leaves on a foreign disk
    hidden.write_bytes(b"\0\5\x16\7")
    (found,) = load_all("rooms", tmp_path)
    hidden.unlink()
    assert found == record | {
        "seconds": 1234570.0,
        "loss": [0.123457, None, None, 1e-9],
        "tasks": ["a", "b"],
    }
    write("rooms/hps-0", found, tmp_path)
    assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == ["hps-0.json"]


def test_a_failed_write_leaves_the_old_record(tmp_path, monkeypatch):
    path = write("a/b", {"x": 1}, tmp_path)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(store.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write("a/b", {"x": 2}, tmp_path)
    assert json.loads(path.read_text()) == {"x": 1}
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_two_that_write_the_same_record_do_not_mix(tmp_path):
    written = [{"by": i, "epochs": [{"epoch": e, "by": i} for e in range(50)]} for i in range(2)]
    threads = [
        threading.Thread(target=lambda r=record: [write("a/b", r, tmp_path) for _ in range(30)])
        for record in written
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert all(record in written for record in load_all("a", tmp_path))
    for thread in threads:
        thread.join()
    assert load_all("a", tmp_path)[0] in written
