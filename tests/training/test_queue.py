"""The queue: what it reads, what it takes next, and how it goes on."""

import gc
import json
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")

from tssbn import MultiTask
from tssbn.__main__ import main
from tssbn.benchmarks import tasks
from tssbn.training import checkpoint, loop, queue
from tssbn.training.jobs import Job, load_queue
from tssbn.training.loop import train
from tssbn.training.progress import LineLog, NoCallback
from tssbn.training.run import Run
from tssbn.training.states import status

SMALL = "n = 16, epochs = 2, filters = 2, height = 32, width = 32"
pytestmark = pytest.mark.usefixtures("here")


def write(*entries):
    lines = ",\n".join(f"  {{ {entry} }}" for entry in entries)
    Path("queue.toml").write_text(f"runs = [\n{lines}\n]\n")
    return Path("queue.toml")


def entry(method, minutes=1, seed=0, benchmark="rooms", settings=SMALL):
    return (
        f'benchmark = "{benchmark}", method = "{method}", seed = {seed}, minutes = {minutes}, '
        f"settings = {{ {settings} }}"
    )


def states():
    return [
        status(job, Path("runs"), Path("data/results")) for job in load_queue(Path("queue.toml"))
    ]


def networks():
    """How many there are in memory."""
    return sum(type(thing) is MultiTask for thing in gc.get_objects())


def run_queue(*options):
    return main(["queue", "queue.toml", "--quiet", *options])


def test_the_list_of_this_project_is_right():
    pytest.importorskip("torchjd")
    listed = load_queue(Path(__file__).resolve().parents[2] / "data/queue.toml")
    data = {job.run.benchmark.name: job.data for job in listed}
    assert data["rooms"] and data["census"] and not data["nyuv2"]


def test_an_entry_with_several_seeds_is_several_runs():
    text = entry("hps", minutes=2).replace("seed = 0", "seeds = [3, 1]")
    runs = [(job.run.seed, job.run.method.name, job.minutes) for job in load_queue(write(text))]
    assert runs == [(3, "hps", 2), (1, "hps", 2)]


def test_an_entry_says_how_its_run_is_trained():
    how = ', how = { precision = "bf16", angles = 1 }'
    write(entry("hps") + how, entry("hps", seed=1))
    assert run_queue("--minutes", "5") == 0
    found = [json.loads(path.read_text()) for path in sorted(Path("data/results/rooms").iterdir())]
    assert [record["precision"] for record in found] == ["bf16", "32"]
    assert found[0]["angles"]["steps"] and "angles" not in found[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs = [", "queue.toml is not TOML"),
        ("jobs = []", r"must hold one list, runs, got {'jobs': \[\]}"),
        ("runs = 3", "must hold one list, runs, got {'runs': 3}"),
        ("runs = [3]", "run 1: a run is a table, got 3"),
        ('runs = [{ benchmark = [], method = "hps", minutes = 1 }]', r"benchmark=\[\] must be a n"),
        ('runs = [{ benchmark = "rooms", method = 1, minutes = 1 }]', "run 1: method=1 must be a"),
        ('runs = [{ benchmark = "rooms", method = "hps", minutes = nan }]', "minutes=nan must be"),
        ('runs = [{ benchmark = "rooms", method = "hps", minutes = inf }]', "minutes=inf must be"),
        ('runs = [{ benchmark = "rooms", method = "hps", minutes = true }]', "minutes=True must"),
        (
            'runs = [{ benchmark = "rooms", method = "hps", minutes = 1, seed = true }]',
            "run 1: seed=True must be an integer",
        ),
        (
            'runs = [{ benchmark = "rooms", method = "hps", minutes = 1, settings = "n=1" }]',
            "run 1: settings='n=1' must be a table",
        ),
        (f"runs = [{{ {entry('hps')}, seeds = [1] }}]", "run 1: seed and seeds: give only one"),
        (
            'runs = [{ benchmark = "rooms", method = "hps", minutes = 1, seeds = [] }]',
            r"run 1: seeds=\[\] must be a list of integers",
        ),
        (
            f"runs = [{{ {entry('hps')}, how = {{ angles = true }} }}]",
            r"how={'angles': True} must be a table; known are precision \(str\), channels_last",
        ),
        ('runs = [{ benchmark = "rooms", method = "hps" }]', r"run 1: .* missing \['minutes'\]"),
        (
            'runs = [{ benchmark = "rooms", method = "hps", minutes = 1, x = 2 }]',
            r"unknown \['x'\]",
        ),
        ('runs = [{ benchmark = "rooms", method = "hps", minutes = 0 }]', "minutes=0 must be"),
        (f"runs = [{{ {entry('hps', seed=0.5)} }}]", "run 1: seed=0.5 must be an integer"),
        ('runs = [{ benchmark = "rooms", method = "x", minutes = 1 }]', "run 1: method='x' is unk"),
        ('runs = [{ benchmark = "nyuv2", method = "x", minutes = 1 }]', "run 1: method='x' is unk"),
        (
            'runs = [{ benchmark = "x", method = "hps", minutes = 1 }]',
            "run 1: benchmark='x' is unk",
        ),
        (
            f"runs = [{{ {entry('hps')} }}, {{ {entry('hps')} }}]",
            "run 2: rooms/hps-0.*listed twice",
        ),
    ],
)
def test_a_list_that_is_wrong(text, message, capsys):
    Path("queue.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_queue(Path("queue.toml"))
    assert run_queue("--minutes", "1") == 1
    assert "error: queue.toml" in capsys.readouterr().err


def test_all_are_trained_most_wanted_first(capsys):
    write(entry("tssbn"), entry("hps", seed=1))
    assert run_queue("--minutes", "5", "--note", "normals derived") == 0
    out = capsys.readouterr().out
    assert out.index("tssbn-0") < out.index("hps-1")
    assert [state.finished for state in states()] == [True, True]
    for name in ("tssbn-0", "hps-1"):
        (path,) = Path("data/results/rooms").glob(f"{name}-*.json")
        record = json.loads(path.read_text())
        assert record["finished"] and record["note"] == "normals derived"
    assert run_queue("--minutes", "5") == 0
    assert not capsys.readouterr().out  # nothing is left to do


def test_a_stopped_run_goes_on(monkeypatch, capsys):
    write(entry("tssbn"))
    now = time.monotonic

    class Slow(LineLog):
        """Makes the clock jump after the first epoch, as if it had taken a minute."""

        def epoch(self, entry):
            super().epoch(entry)
            monkeypatch.setattr(loop.time, "monotonic", lambda: now() + 60)

    listed = load_queue(Path("queue.toml"))
    assert not queue.run_queue(listed, 50, Path("runs"), Path("data/results"), Slow())
    monkeypatch.setattr(loop.time, "monotonic", now)
    assert "stopped after epoch 1" in capsys.readouterr().out
    (state,) = states()
    assert (state.done, state.finished) == (1, False)
    assert 0 < state.pace < 30  # measured, where 60 s were expected for two epochs
    assert str(state).startswith("half-done  rooms/tssbn-0") and "1 of 2 epochs" in str(state)

    assert run_queue("--minutes", "5") == 0
    assert "from epoch 2" in capsys.readouterr().out
    assert states()[0].finished
    (path,) = Path("data/results/rooms").glob("*.json")
    stopped = json.loads(path.read_text())
    whole = train(load_queue(Path("queue.toml"))[0].run).record
    assert [e["test"] for e in stopped["epochs"]] == [
        {t: {k: pytest.approx(v, rel=1e-5) for k, v in of.items()} for t, of in e["test"].items()}
        for e in whole["epochs"]
    ]


def test_what_does_not_fit_is_passed_over(capsys):
    write(entry("tssbn", minutes=100), entry("hps", minutes=0.5))
    assert run_queue("--minutes", "1") == 0
    assert [state.finished for state in states()] == [False, True]
    assert not list(Path("runs/rooms").glob("tssbn*"))


def test_a_failing_run_does_not_stop_the_others(monkeypatch, capsys):
    write(entry("tssbn"), entry("hps"))

    def fails(run, *arguments, **options):
        if run.method.name == "tssbn":
            raise FloatingPointError("the loss is NaN")
        return train(run, *arguments, **options)

    monkeypatch.setattr(loop, "train", fails)
    assert run_queue("--minutes", "5") == 1
    assert "failed: rooms/tssbn-0" in capsys.readouterr().err
    assert [state.finished for state in states()] == [False, True]


def test_a_run_without_enough_memory_leaves_none_taken(monkeypatch):
    write(entry("tssbn"))
    monkeypatch.setattr(tasks, "l1_loss", lambda *_, **__: torch.empty(2**55))
    gc.collect()
    before = networks()  # of tests before, if one failed
    gc.disable()
    try:
        listed = load_queue(Path("queue.toml"))
        failed = queue.run_queue(listed, 300, Path("runs"), Path("data/results"), NoCallback())
        assert networks() <= before
    finally:
        gc.enable()
    (message,) = failed.values()
    assert message.startswith("out of memory with batch=16")


def test_several_processes_work_off_one_list(capsys):
    write(entry("tssbn"), entry("hps"))
    taken, _ = states()
    with checkpoint.lock(Path("runs") / taken.job.run.name):  # as another process would
        assert run_queue("--minutes", "5") == 0
    out = capsys.readouterr().out
    assert f"{taken.job.run.name}: another process trains it" in out
    assert out.splitlines()[-1].startswith("1 of 2 runs are left; they take ")
    assert [state.finished for state in states()] == [False, True]


def test_what_another_process_finished_meanwhile_is_not_trained_again(capsys):
    write(entry("tssbn"), entry("hps"))
    listed = load_queue(Path("queue.toml"))

    class Other(NoCallback):
        """Finishes the second run while the first one trains."""

        def end(self, record):
            path = Path("data/results") / f"{listed[1].run.name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('{"epochs": [], "method": "hps", "settings": {}}')

    assert not queue.run_queue(listed, 300, Path("runs"), Path("data/results"), Other())
    assert not (Path("runs") / listed[1].run.name).exists()


def test_a_run_without_its_data_is_not_tried(capsys):
    write('benchmark = "nyuv2", method = "hps", minutes = 1')
    assert run_queue("--minutes", "5") == 0
    assert run_queue("--minutes", "5", "--dry") == 0
    assert "no data    nyuv2/hps-0" in capsys.readouterr().out
    write(*(f'benchmark = "nyuv2{form}", method = "hps", minutes = 1' for form in ("", "_short")))
    assert all(job.data for job in load_queue(Path("queue.toml"), {"nyuv2": "there"}))


def test_unfit_data_is_named_before_a_run_is_tried(capsys):
    Path("empty").mkdir()
    write('benchmark = "nyuv2", method = "hps", minutes = 1', entry("hps"))
    for folder in "nowhere", "empty":
        assert run_queue("--minutes", "5", "--data", f"nyuv2={folder}", "--dry") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("no data    nyuv2/hps-0: ") and folder in lines[0]
        assert lines[-1] == "1.0 minutes left in all, 1.0 minutes of them now"
    for name, message in {
        "foo": "benchmark='foo' is unknown",
        "rooms": "the data of rooms are synthetic",
    }.items():
        assert run_queue("--minutes", "5", "--data", f"{name}=empty", "--dry") == 1
        assert message in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_done(capsys):
    write(entry("tssbn", minutes=6), entry("hps", minutes=4), entry("stl", minutes=8))
    assert run_queue("--minutes", "7", "--dry") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("0 of 2 epochs, 6.0 minutes left: to the end")
    assert lines[1].endswith("4.0 minutes left")  # an epoch takes two minutes
    assert lines[-1] == "18.0 minutes left in all, 6.0 minutes of them now"
    assert run_queue("--minutes", "9", "--dry") == 0
    assert capsys.readouterr().out.splitlines()[1].endswith("4.0 minutes left: a part")
    assert not Path("runs").exists()


def test_a_measured_run_of_another_seed_tells_the_pace():
    write(entry("hps", minutes=100), entry("hps", minutes=100, seed=1), entry("stl", minutes=100))
    job = load_queue(Path("queue.toml"))[0]
    record = {"method": "hps", "settings": dict(job.run.settings)}
    record["epochs"] = [{"seconds": 3.0}, {"seconds": 5.0}]
    queue.records.write(job.run.name, record, Path("data/results"))
    assert [state.pace for state in states()] == [4, 4, 3000]


def test_runs_of_one_benchmark_share_its_data(monkeypatch):
    write(entry("hps"), entry("tssbn"), entry("hps", settings=SMALL.replace("16", "20")))
    held = queue._Held("cpu")
    data = [dict(held.of(job)) for job in load_queue(Path("queue.toml"))]
    assert data[0]["train"] is data[1]["train"] and data[0]["test"] is data[1]["test"]
    assert [len(of["train"]) for of in data] == [16, 16, 20]


def test_a_list_that_is_missing(capsys):
    assert run_queue("--minutes", "1") == 1
    assert "error: queue.toml is no file; name a list of runs" in capsys.readouterr().err


def test_a_list_that_is_no_text(capsys):
    Path("queue.toml").write_bytes(b"\xff")
    assert run_queue("--minutes", "1") == 1
    assert "error: queue.toml is not TOML" in capsys.readouterr().err


def spoil_checkpoint(name, content):
    folder = Path("runs") / name
    folder.mkdir(parents=True)
    if isinstance(content, bytes):
        (folder / checkpoint.LAST).write_bytes(content)
    else:
        torch.save(content, folder / checkpoint.LAST)
    return folder / checkpoint.LAST


def spoil_record(name, content):
    path = Path(f"data/results/{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("spoil", "content"),
    [
        (spoil_checkpoint, b""),
        (spoil_checkpoint, b"no checkpoint"),
        (spoil_checkpoint, [1, 2]),
        (spoil_checkpoint, {}),
        (spoil_checkpoint, {"record": 3}),
        (spoil_checkpoint, {"record": {"epochs": [{"seconds": None}]}}),
        (spoil_record, b""),
        (spoil_record, b'{"epochs": [{"seco'),
        (spoil_record, b"\xff"),
        (spoil_record, b"[]"),
        (spoil_record, b"null"),
        (spoil_record, b'{"method": "hps"}'),
        (spoil_record, b'{"epochs": [3]}'),
        (spoil_record, b'{"epochs": [{}]}'),
    ],
)
def test_one_damaged_file_is_named_and_the_other_runs_go_on(spoil, content, capsys):
    short = SMALL.replace("epochs = 2", "epochs = 1")
    write(*(entry("hps", seed=seed, settings=short) for seed in (0, 1)))
    name = states()[0].job.run.name
    path = spoil(name, content)
    before = path.read_bytes()
    for options in ("--minutes", "5", "--dry"), ("--minutes", "5"):
        assert run_queue(*options) == 1
        said = capsys.readouterr()
        assert f"failed: {name}: {path} " in said.err and "Traceback" not in said.err
        if "--dry" in options:
            assert said.out.startswith(f"damaged    {name}: {path} ")
            assert said.out.endswith("1.0 minutes left in all, 1.0 minutes of them now\n")
    assert [state.finished for state in states()] == [False, True]
    assert path.read_bytes() == before


def test_a_damaged_record_of_a_run_that_is_not_listed_is_named(capsys):
    write(entry("hps"))
    path = spoil_record("rooms/hps-7-lr=0.1", b'{"epochs": [{"seco')
    for options in ("--minutes", "5", "--dry"), ("--minutes", "5"):
        assert run_queue(*options) == 1
        assert (
            f"failed: rooms/hps-7-lr=0.1: {path} is not a complete saved run"
            in capsys.readouterr().err
        )
    assert states()[0].finished


def test_a_record_without_epochs_tells_no_pace():
    write(entry("hps", minutes=100), entry("hps", minutes=100, seed=1))
    record = {"method": "hps", "settings": dict(states()[0].job.run.settings), "epochs": []}
    queue.records.write("rooms/hps-7", record, Path("data/results"))
    assert [state.pace for state in states()] == [3000, 3000]


def test_a_record_that_cannot_be_written_stops_no_other_run(monkeypatch, capsys):
    write(entry("hps"), entry("tssbn"))
    name, original = states()[0].job.run.name, queue.records.write

    def full(of, *arguments):
        if of == name:
            raise OSError(28, "No space left on device")
        return original(of, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(queue.records, "write", full)
        assert run_queue("--minutes", "5") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"failed: {name}: data/results/{name}.json could not be written: [Er")
    assert "; it needs about 0.1 MB, and " in error and error.endswith(" MB are free there")
    assert [state.finished for state in states()] == [False, True]
    assert run_queue("--minutes", "5") == 0  # what the checkpoint holds needs no training
    assert "| loss" not in capsys.readouterr().out and states()[0].finished


def test_runs_that_differ_in_the_weights_of_losses_share_their_data():
    small = {"n": 8, "height": 32, "width": 32}
    held = queue._Held("cpu")
    first = held.of(Job(Run("rooms", "hps", settings=small), 1))["train"]
    weighted = held.of(Job(Run("rooms", "tssbn", settings={**small, "weight.depth": 2.0}), 1))[
        "train"
    ]
    assert weighted is first
    assert held.of(Job(Run("rooms", "hps", settings={**small, "n": 4}), 1))["train"] is not first
