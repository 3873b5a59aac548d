"""Saved runs as objects: scores, gates, gains and Δm by hand."""

import math

import pytest
import torch

pytest.importorskip("pandas")

from tssbn.gates import Importance
from tssbn.records import SavedRun, SavedRuns, pack_gates

UP = {"a": True, "b": False}


def saved(seed, a, b, method="hps", gates=None):
    """A run of two epochs that is worth (a, b); the first epoch, on other images, is not."""
    record = {
        "method": method,
        "seed": seed,
        "recipe": {"report": "last"},
        "metric": {"a": "score", "b": "error"},
        "directions": UP,
        "epochs": [
            {
                "epoch": e,
                "test": {"a": {"score": x, "other": 9.0}, "b": {"error": y}},
                "val": {"a": {"score": -1.0}, "b": {"error": y}},
            }
            for e, x, y in ((1, 0.9, 0.1), (2, a, b))
        ],
    }
    if gates:
        packed = {e: Importance(torch.full((2, 3), v), ("a", "b"), {"bn": 3}) for e, v in gates}
        record["gates"] = pack_gates(packed)
    return SavedRun(f"mine/{method}-{seed}", record)


def runs(*values, **options):
    found = [saved(seed, *value) for seed, value in enumerate(values)]
    return SavedRuns(tuple(found), **options)


SINGLE = runs((0.4, 3.0), (0.6, 1.0))  # the mean is (0.5, 2.0)


def test_a_run_is_a_mapping_of_its_file():
    run = saved(4, 0.5, 2.0)
    assert (run.name, run.method, run.seed, run.tasks) == ("mine/hps-4", "hps", 4, ("a", "b"))
    assert run["recipe"] == {"report": "last"} and "gates" not in run
    assert dict(run) == run.record and len(run) == len(run.record)


def test_the_answer_that_ignores_the_image():
    run = saved(4, 0.5, 2.0)
    with pytest.raises(ValueError, match="mine/hps-4 was saved without scores of a constant"):
        run.constant()
    run.record["constant"] = {"a": {"score": 0.3, "other": 9.0}, "b": {"error": None}}
    assert run.constant()["a"] == 0.3 and math.isnan(run.constant()["b"])
    del run.record["constant"]["b"]  # a task without one: there is no baseline of the whole
    with pytest.raises(ValueError, match="without"):
        run.constant()


def test_scores_are_a_row_for_each_seed():
    scores = SINGLE.scores()
    assert scores.index.tolist() == [0, 1] and scores.index.name == "seed"
    assert scores.to_dict("list") == {"a": [0.4, 0.6], "b": [3.0, 1.0]}
    assert SINGLE.scores("val").to_dict("list") == {"a": [-1.0, -1.0], "b": [3.0, 1.0]}


def test_gains_and_delta_are_against_the_mean_over_seeds():
    ours = runs((0.6, 2.0), (0.5, 1.0), (0.25, 3.0))
    gains = ours.gains(SINGLE)
    assert gains["a"].tolist() == pytest.approx([20, 0, -50])
    assert gains["b"].tolist() == pytest.approx([0, 50, -50])
    delta = ours.delta(SINGLE)
    assert delta.tolist() == pytest.approx([10, 25, -50])
    assert delta.index.tolist() == [0, 1, 2]


def test_the_baseline_has_an_error_of_its_own():
    own = SINGLE.delta(SINGLE)  # per cent of a: -20, 20; of b: -50, 50
    assert own.tolist() == pytest.approx([-35, 35])
    assert own.sem() == pytest.approx(35)  # 35 · sqrt(2), the standard deviation, over sqrt(2)


def test_where_the_mean_of_the_tasks_counts_delta_is_the_gain_of_the_mean():
    faces = runs((0.3, 0.9), average=True)
    single = runs((0.2, 0.6), (0.2, 0.6), average=True)
    assert faces.delta(single).tolist() == pytest.approx([50])
    other = runs((0.4, 0.4), average=True)  # gains of +100 and, b being lower, +33.3
    assert other.delta(single).tolist() == pytest.approx([0])


def test_what_is_no_number_stays_none():
    broken = runs((None, 1.0), (0.5, 1.0))
    assert math.isnan(broken.scores()["a"][0]) and broken.scores()["a"][1] == 0.5
    assert math.isnan(broken.delta(SINGLE)[0]) and broken.delta(SINGLE)[1] == 25
    gains = broken.gains(SINGLE)
    assert math.isnan(gains["a"][0]) and gains["b"].tolist() == [50, 50]


def test_gates_of_an_epoch():
    run = saved(0, 0.5, 2.0, gates=((1, 0.2), (3, 0.6), (10, 1.0)))
    assert run.gate_epochs == (1, 3, 10)
    for epoch, value in ((1, 0.2), (3, 0.6), (10, 1.0), (-1, 1.0)):
        assert run.gates(epoch).values.unique().tolist() == pytest.approx([value])
    assert run.gates().tasks == ("a", "b") and run.gates().layers == {"bn": 3}
    assert [g.values.max() for g in SavedRuns((run, run)).gates(3)] == pytest.approx([0.6, 0.6])
    with pytest.raises(ValueError, match=r"epoch=2: .* epochs 1, 3, 10"):
        run.gates(2)
    with pytest.raises(ValueError, match="mine/hps-0 has no gates: hps is a method without them"):
        saved(0, 0.5, 2.0).gates()


def test_no_run_is_an_empty_sequence_that_has_no_scores():
    none = SavedRuns((), ("mine/hps-0", "mine/hps-1"))
    assert not none and list(none) == [] and none.seeds == ()
    for ask in (
        none.scores,
        none.gates,
        lambda: none[0],
        lambda: none.delta(SINGLE),
        lambda: SINGLE.delta(none),
        lambda: SINGLE.gains(none),
    ):
        with pytest.raises(match="none of mine/hps-0, mine/hps-1 is saved"):
            ask()


def test_a_slice_is_of_the_same_kind():
    assert SINGLE[1:].seeds == (1,) and SINGLE[1:].delta(SINGLE).tolist() == pytest.approx([35])
    assert SINGLE[-1].seed == 1


def test_other_tasks_are_no_baseline():
    other = saved(0, 0.5, 2.0)
    other.record["metric"].pop("b")
    with pytest.raises(ValueError, match=r"against: its tasks are \('a',\)"):
        SINGLE.delta(SavedRuns((other,)))
