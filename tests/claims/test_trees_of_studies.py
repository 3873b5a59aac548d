"""Numbers of saved studies are those of the definitions."""

import pytest

pytest.importorskip("scipy")

from tssbn.claims.studies import tree_change, tree_effect

RECORD = {
    "metric": {"seg": "miou", "depth": "absolute"},
    "directions": {"seg": True, "depth": False},
    "points": [
        {"chooser": "apart", "share": None, "scores": {"merged": [0.5, 1.0], "tuned": [0.5, 1.0]}},
        {"chooser": "loss", "share": 0.5, "scores": {"merged": [0.4, 1.1], "tuned": [0.55, 1.2]}},
        {"chooser": "trunk", "share": None, "scores": {"merged": [0.25, 2.0]}},
    ],
}


def test_a_tree_is_compared_with_passes_of_the_same_stage():
    assert tree_change(RECORD, "loss", 0.5) == pytest.approx((10 - 20) / 2)
    assert tree_change(RECORD, "loss", 0.5, "merged") == pytest.approx((-20 - 10) / 2)
    assert tree_change(RECORD, "trunk", stage="merged") == pytest.approx((-50 - 100) / 2)


def test_what_was_not_measured_is_none():
    assert tree_change(RECORD, "trunk") is None
    assert tree_change(RECORD, "gates", 0.5) is None


def test_the_effect_is_over_the_runs_that_have_the_tree():
    found = tree_effect([RECORD, RECORD], "loss", "tuned")
    assert found.value == pytest.approx(tree_change(RECORD, "loss", 0.5)) and found.n == (2,)
    assert tree_effect([RECORD, RECORD], "loss", "tuned", over="loss").value == 0
    assert tree_effect([RECORD, RECORD], "loss", "tuned", over="gates") is None
