"""What a run shows while it trains."""

import io
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("tqdm")

from tssbn.training import progress
from tssbn.training.progress import CallbackList, LineLog, ProgressBar, TensorBoard

RUN = SimpleNamespace(name="rooms/tssbn-0")


class Terminal(io.StringIO):
    """Where a bar can move."""

    def isatty(self):
        return True


def losses():
    return {"segmentation": 1.25, "depth": 0.5}


def record(epochs, **entries):
    units = {"segmentation": "%", "depth": "m"}
    return {"recipe": {"epochs": epochs}, "units": units, **entries}


def entry(epoch, seconds=30.0):
    return {
        "epoch": epoch,
        "seconds": seconds,
        "lr": 1e-3,
        "losses": losses(),
        "test": {"segmentation": {"miou": 0.4375, "accuracy": 0.6}, "depth": {"absolute": 0.48}},
    }


def tell_all(callback, first=1, epochs=3, steps=4):
    callback.begin(RUN, record(epochs), steps, first)
    for epoch in range(first, epochs + 1):
        for step in range(1, steps + 1):
            callback.step(epoch, step, losses)
        callback.epoch(entry(epoch))
    callback.end({})
    callback.close()
    return callback


def test_a_line_for_each_epoch(capsys):
    tell_all(LineLog(), first=2)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "rooms/tssbn-0: 3 epochs of 4 steps, from epoch 2"
    assert lines[0] == (
        "epoch 2/3 | loss segmentation 1.25, depth 0.5 | test segmentation 43.75%, depth 0.48 m"
        " | 30.0 s, 0:00:30 left"
    )
    assert lines[1].endswith("0:00:00 left") and len(lines) == 2


def test_the_constant_baseline_stands_above_the_epochs(capsys):
    """In percent as they are, also of a metric that is none of the package's."""
    units = {"income": "%"}
    constant = {"income": {"gini": 0.5}}
    LineLog().begin(RUN, record(3, constant=constant) | {"units": units}, 4, 1)
    assert capsys.readouterr().out.splitlines() == [
        "rooms/tssbn-0: 3 epochs of 4 steps",
        "constant baseline | test income 50%",
    ]


def test_lines_do_not_look_at_the_losses_of_a_step():
    callback = LineLog(io.StringIO())
    callback.begin(RUN, record(3), 4, 1)
    callback.step(1, 1, lambda: pytest.fail("a GPU would have to be waited for"))


def test_the_bar_is_below_the_lines():
    file = Terminal()
    bar = tell_all(ProgressBar(file))
    text = file.getvalue()
    assert "epoch 3/3 | loss" in text and "100%" in text
    assert "loss segmentation 1.25, depth 0.5" in text.split("epoch 1/3")[0]
    assert bar.bar is None
    bar.close()  # any time


def test_where_no_bar_can_move_there_are_lines_alone():
    files = io.StringIO(), io.StringIO()
    tell_all(ProgressBar(files[0]))
    tell_all(LineLog(files[1]))
    assert files[0].getvalue() == files[1].getvalue()
    bar = ProgressBar(io.StringIO())
    bar.begin(RUN, record(3), 4, 1)
    bar.shown = -1e9
    bar.step(1, 1, lambda: pytest.fail("nobody would see the losses"))
    bar.close()


def test_the_bar_of_a_resumed_run_starts_where_it_was_stopped():
    bar = ProgressBar(Terminal())
    bar.begin(RUN, record(4), 10, 3)
    assert (bar.bar.n, bar.bar.total) == (20, 40)
    bar.begin(RUN, record(4), 10, 1)  # after a run that failed
    assert bar.bar.n == 0
    bar.close()


def test_the_bar_looks_at_the_losses_now_and_then(monkeypatch):
    clock, looks = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    bar = ProgressBar(Terminal())
    bar.begin(RUN, record(1), 30, 1)
    for step in range(1, 31):
        clock[0] += 0.1
        bar.step(1, step, lambda: looks.append("look") or losses())
    bar.close()
    assert 4 <= len(looks) <= 7  # of three seconds, twice a second at most


def test_many_tasks_are_a_mean():
    scores = {f"a{i}": {"f1": i / 40} for i in range(40)}
    assert progress.scores_text(scores, {}) == "mean of 40 48.75%"


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tell_all(CallbackList([LineLog(io.StringIO()), TensorBoard(tmp_path)]))
    events = EventAccumulator(str(tmp_path / RUN.name)).Reload()
    assert [scalar.step for scalar in events.Scalars("loss/depth")] == [1, 2, 3]
    assert events.Scalars("test/segmentation/miou")[0].value == 0.4375
    assert {"lr", "seconds", "test/depth/absolute"} <= set(events.Tags()["scalars"])


def test_tensorboard_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        TensorBoard(tmp_path)
