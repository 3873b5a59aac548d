"""What a run reports: the epochs that count, the best one, Δm, and the units of a table."""

import math

import pytest

from tssbn.records import delta, display_unit, reported, summary


def run(report="last", epochs=12, **values):
    """A record; ``values`` gives each task's on the test images, by epoch."""
    up = {task: task != "depth" for task in values}
    return {
        "recipe": {"report": report},
        "metric": {task: "score" for task in values},
        "directions": up,
        "epochs": [
            {"epoch": e, "test": {task: {"score": of(e)} for task, of in values.items()}}
            for e in range(1, epochs + 1)
        ],
    }


def test_summary_by_the_rule_of_the_recipe():
    curve = run(depth=lambda e: abs(e - 4) + 1.0)
    assert summary(curve) == {
        "test": {"depth": 9.0},
        "epochs": [12],
        "best": {"depth": 1.0},
        "best_epoch": 4,
    }
    curve = run("last-10", depth=float)
    assert summary(curve)["test"] == {"depth": 7.5}  # 3..12
    assert summary(curve)["epochs"] == list(range(3, 13))
    assert summary(run("last-10", 3, depth=float))["test"] == {"depth": 2.0}


def test_summary_of_the_best_validation_epoch():
    curve = run("val", a=lambda e: 0.1 * e, b=lambda e: 0.5)
    for entry in curve["epochs"]:
        entry["val"] = {
            "a": {"score": 0.9 if entry["epoch"] == 5 else 0.0},
            "b": {"score": 0.4 if entry["epoch"] == 7 else 0.3},
        }
    said = summary(curve)
    assert said["epochs"] == [5] and said["test"] == {"a": 0.5, "b": 0.5}
    assert said["best_epoch"] == 12


def test_summary_of_the_epoch_that_libmtl_would_choose():
    """Gains over the first epoch: the mean over tasks, of each task over its metrics."""
    miou, accuracy = (0.4, 0.6, 0.5), (0.5, 0.5, 0.7)  # gains 0; 1/2 and 0; 1/4 and 2/5
    absolute, rmse = (2.0, 1.0, 1.2), (1.0, 9.0, 9.0)  # gains 0, 1/2, 2/5; not among LibMTL's
    epochs = [
        {
            "epoch": e + 1,
            "test": {
                "seg": {"miou": miou[e], "accuracy": accuracy[e], "iou": [miou[e]]},
                "depth": {"absolute": absolute[e], "rmse": rmse[e]},
            },
        }
        for e in range(3)
    ]
    curve = {
        "recipe": {"report": "libmtl"},
        "metric": {"seg": "miou", "depth": "absolute"},
        "directions": {"seg": True, "depth": False},
        "epochs": epochs,
    }
    assert summary(curve)["epochs"] == [2]  # (1/4 + 1/2) / 2 against (13/40 + 2/5) / 2
    epochs[2]["test"]["seg"]["accuracy"] = 0.8
    assert summary(curve)["epochs"] == [3]  # (17/40 + 2/5) / 2
    epochs[2]["test"]["seg"]["miou"] = None
    assert summary(curve)["test"] == {"seg": 0.6, "depth": 1.0}


def test_the_best_epoch_weighs_tasks_by_their_size():
    # b falls from 200 to 90 by a half of its mean while a gains a tenth: the first epoch is best.
    curve = run(
        epochs=2, a=lambda e: 1.0 + 0.1 * e, b=lambda e: 200.0 if e == 1 else 90.0, depth=float
    )
    assert summary(curve)["best_epoch"] == 1
    # Where lower is better for one task, a relative gain counts as much in it as in any other.
    curve = run(
        epochs=2, a=lambda e: 1.0 if e == 1 else 1.3, depth=lambda e: 100.0 if e == 1 else 120.0
    )
    assert summary(curve)["best_epoch"] == 2


def test_what_is_not_a_number_is_never_the_best():
    curve = run(epochs=3, a=lambda e: None if e == 2 else 1.0 / e)
    assert summary(curve)["best_epoch"] == 1
    curve = run(epochs=2, a=lambda e: None)
    assert summary(curve) == {
        "test": {"a": None},
        "epochs": [2],
        "best": {"a": None},
        "best_epoch": None,
    }


def test_a_summary_of_nothing():
    with pytest.raises(ValueError, match="no epoch"):
        summary(run(epochs=0, a=float))
    with pytest.raises(ValueError, match="report='first' of the recipe"):
        summary(run("first", a=float))


def test_validation_scores_are_reported_of_the_same_epoch():
    curve = run("val", a=lambda e: 0.1 * e)
    for entry in curve["epochs"]:
        entry["val"] = {"a": {"score": 0.7 if entry["epoch"] == 3 else 0.2}}
    assert reported(curve, "val") == {"a": 0.7}
    assert reported(curve, "test") == {"a": pytest.approx(0.3)}
    with pytest.raises(ValueError, match="split='val': the run was scored on test"):
        reported(run(a=float), "val")


def test_delta_by_hand():
    up = {"a": True, "b": False}
    assert delta({"a": 0.75, "b": 3.0}, {"a": 0.5, "b": 2.0}, up) == (50 - 50) / 2
    assert delta({"a": 1.0, "b": 1.5}, {"a": 0.5, "b": 2.0}, up) == (100 + 25) / 2
    both = {"a": True, "b": True}
    assert delta({"a": 0.75, "b": 3.0}, {"a": 0.5, "b": 2.0}, both, average=True) == 50
    assert delta({"a": 1.0, "b": 1.5}, {"a": 0.5, "b": 2.0}, both, average=True) == 0


@pytest.mark.parametrize(
    ("value", "baseline"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, 0.0), (1.0, math.nan)]
)
def test_delta_of_what_cannot_be_compared_is_no_number(value, baseline):
    assert math.isnan(delta({"a": value}, {"a": baseline}, {"a": True}))


def test_a_run_says_its_units_and_older_ones_have_those_of_the_metric():
    assert display_unit("miou") == (100, "%") and display_unit("absolute") == (1, "")
    assert display_unit("absolute", "m") == (1, "m")
    assert display_unit("a new score", "%") == (100, "%")
    assert display_unit("miou", "") == (1, "")
