"""Records: where they are read from, how they are written, what they say."""

import functools
import json
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from tssbn import records
from tssbn.gates import Importance


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
    assert records.load("a") == {"from": "here"}


def test_elsewhere_it_comes_from_the_repository(repository):
    (repository / "set").mkdir()
    (repository / "set/a.json").write_text(json.dumps({"x": [1, 2]}))
    assert records.load("set/a") == {"x": [1, 2]}


def test_what_is_missing_or_broken_is_named(repository, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no record 'b\.json'.*404"):
        records.load("b")
    (repository / "c.json").write_text("{")
    with pytest.raises(ValueError, match=r"'c\.json' is not JSON"):
        records.load("c")
    monkeypatch.setattr(records, "RESULTS", "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(FileNotFoundError, match=r"no record 'c\.json'"):
        records.load("c")


def run(select="last", epochs=12, **values):
    """A record; ``values`` gives each task's on the test images, by epoch."""
    up = {task: task != "depth" for task in values}
    return {
        "recipe": {"select": select},
        "metric": {task: "score" for task in values},
        "directions": up,
        "epochs": [
            {"epoch": e, "test": {task: {"score": of(e)} for task, of in values.items()}}
            for e in range(1, epochs + 1)
        ],
    }


def test_what_is_written_is_read(tmp_path):
    record = {
        "seconds": 1234567.8,
        "loss": [0.12345678, float("nan"), float("inf"), 1e-9],
        "tasks": ("a", "b"),
        "epochs": [{"epoch": 1, "test": {"a": {"x": 1.0}}}, {"epoch": 2, "test": {}}],
        "settings": {},
        "name": "TSσBN",
    }
    path = records.write("rooms/hps-0", record, tmp_path)
    assert path == tmp_path / "rooms/hps-0.json"
    text = path.read_text(encoding="utf-8")
    assert "NaN" not in text and "TSσBN" in text
    assert text.count('{"epoch"') == 2 and len(text.splitlines()) == 11  # a line for each epoch
    hidden = tmp_path / "rooms" / "._hps-0.json"  # as macOS leaves on a foreign disk
    hidden.write_bytes(b"\0\5\x16\7")
    (found,) = records.load_all("rooms", tmp_path)
    hidden.unlink()
    assert found == record | {
        "seconds": 1234570.0,
        "loss": [0.123457, None, None, 1e-9],
        "tasks": ["a", "b"],
    }
    records.write("rooms/hps-0", found, tmp_path)
    assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == ["hps-0.json"]


def test_a_failed_write_leaves_the_old_record(tmp_path, monkeypatch):
    path = records.write("a/b", {"x": 1}, tmp_path)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(records.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        records.write("a/b", {"x": 2}, tmp_path)
    assert json.loads(path.read_text()) == {"x": 1}
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_two_that_write_the_same_record_do_not_mix(tmp_path):
    written = [{"by": i, "epochs": [{"epoch": e, "by": i} for e in range(50)]} for i in range(2)]
    threads = [
        threading.Thread(
            target=lambda r=record: [records.write("a/b", r, tmp_path) for _ in range(30)]
        )
        for record in written
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert all(record in written for record in records.load_all("a", tmp_path))
    for thread in threads:
        thread.join()
    assert records.load_all("a", tmp_path)[0] in written


def test_summary_by_the_rule_of_the_recipe():
    curve = run(depth=lambda e: abs(e - 4) + 1.0)
    assert records.summary(curve) == {
        "test": {"depth": 9.0},
        "epochs": [12],
        "best": {"depth": 1.0},
        "best_epoch": 4,
    }
    curve = run("last-10", depth=float)
    assert records.summary(curve)["test"] == {"depth": 7.5}  # 3..12
    assert records.summary(curve)["epochs"] == list(range(3, 13))
    assert records.summary(run("last-10", 3, depth=float))["test"] == {"depth": 2.0}


def test_summary_of_the_best_validation_epoch():
    curve = run("val", a=lambda e: 0.1 * e, b=lambda e: 0.5)
    for entry in curve["epochs"]:
        entry["val"] = {
            "a": {"score": 0.9 if entry["epoch"] == 5 else 0.0},
            "b": {"score": 0.4 if entry["epoch"] == 7 else 0.3},
        }
    summary = records.summary(curve)
    assert summary["epochs"] == [5] and summary["test"] == {"a": 0.5, "b": 0.5}
    assert summary["best_epoch"] == 12


def test_the_best_epoch_weighs_tasks_by_their_size():
    # b falls from 200 to 90 by a half of its mean while a gains a tenth: the first epoch is best.
    curve = run(
        epochs=2, a=lambda e: 1.0 + 0.1 * e, b=lambda e: 200.0 if e == 1 else 90.0, depth=float
    )
    assert records.summary(curve)["best_epoch"] == 1
    # Where lower is better for one task, a relative gain counts as much in it as in any other.
    curve = run(
        epochs=2, a=lambda e: 1.0 if e == 1 else 1.3, depth=lambda e: 100.0 if e == 1 else 120.0
    )
    assert records.summary(curve)["best_epoch"] == 2


def test_what_is_not_a_number_is_never_the_best():
    curve = run(epochs=3, a=lambda e: None if e == 2 else 1.0 / e)
    assert records.summary(curve)["best_epoch"] == 1
    curve = run(epochs=2, a=lambda e: None)
    assert records.summary(curve) == {
        "test": {"a": None},
        "epochs": [2],
        "best": {"a": None},
        "best_epoch": None,
    }


def test_a_summary_of_nothing():
    with pytest.raises(ValueError, match="no epoch"):
        records.summary(run(epochs=0, a=float))
    with pytest.raises(ValueError, match="select='first' of the record"):
        records.summary(run("first", a=float))


def test_gates_come_back_to_half_a_level():
    values = torch.rand(2, 5, dtype=torch.float64)
    gates = {e: Importance(values**e, ("a", "b"), {"x": 2, "y": 3}) for e in (1, 10)}
    packed = records.pack_gates(gates)
    back = records.unpack_gates(json.loads(json.dumps(packed)))
    assert list(back) == [1, 10]
    for epoch, importance in back.items():
        assert (importance.values - values**epoch).abs().max() <= 0.5 / 255 + 1e-12
        assert importance.tasks == ("a", "b") and importance.layers == {"x": 2, "y": 3}
    assert records.pack_gates(back) == packed


def test_gates_that_do_not_fit():
    one = Importance(torch.rand(1, 2), ("a",), {"x": 2})
    with pytest.raises(ValueError, match="epoch 2 are those of another network"):
        records.pack_gates({1: one, 2: Importance(torch.rand(1, 2), ("b",), {"x": 2})})
    packed = records.pack_gates({1: one})
    with pytest.raises(ValueError, match="epoch 1 are 2 values, expected 1 tasks times 3"):
        records.unpack_gates(packed | {"layers": {"x": 3}})
    with pytest.raises(ValueError, match="epoch 1 do not unpack"):
        records.unpack_gates(packed | {"epochs": {"1": "%%"}})
    with pytest.raises(ValueError, match="epoch 1 do not unpack"):
        records.unpack_gates(packed | {"epochs": {"1": "AAAA"}})


def git(folder, *arguments):
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_that_of_the_package(tmp_path, monkeypatch):
    package = tmp_path / "repository/tssbn"
    (package / "training").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(records, "__file__", str(package / "records/store.py"))
    monkeypatch.delenv("TSSBN_COMMIT", raising=False)
    nothing = {"commit": None, "dirty": False}
    assert records.environment().items() >= nothing.items()
    git(package.parent, "init", "-q")
    assert records.environment().items() >= nothing.items()  # git does not track the package
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "first")
    clean = records.environment()
    assert len(clean["commit"]) >= 7 and not clean["dirty"]
    (package.parent / "result.json").touch()  # beside the sources
    assert records.environment() == clean
    (package / "new.py").touch()
    assert records.environment() == clean | {"dirty": True}
    monkeypatch.setattr(records, "__file__", str(tmp_path / "site/tssbn/records/store.py"))
    assert records.environment().items() >= nothing.items()
    monkeypatch.setenv("TSSBN_COMMIT", "abc1234-dirty")
    assert records.environment().items() >= {"commit": "abc1234", "dirty": True}.items()
