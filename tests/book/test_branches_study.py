"""The study of book/studies/branches.py, on a network that is hardly trained."""

import importlib.util
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

from tssbn.training.run import Run

ROOT = Path(__file__).resolve().parents[2]
TINY = {"n": 24, "side": 16, "filters": 2, "attributes": 3, "epochs": 1, "batch": 8}
TREE = {"a": (("x", "y"), ("z",)), "b": (("x",), ("y",), ("z",))}


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("study", ROOT / "book/studies/branches.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_record_has_all_choosers_at_the_cost_that_was_asked_for(study, monkeypatch):
    monkeypatch.setitem(study.SHARES, "faces", (0.75,))
    tuned = {"gates": (0.75,), "loss": (), "random": (), "together": ()}
    monkeypatch.setitem(study.TUNED, "faces", tuned)
    monkeypatch.setattr(study, "SEARCH", {"batches": 1, "images": 8})
    made = study.record(Run("faces", "tssbn", 0, TINY), None)
    points = {point["chooser"]: point for point in made["points"]}
    assert list(points) == ["apart", "trunk", "gates", "loss", "random", "together"]
    assert points["apart"]["cost"] == 1 and points["apart"]["change"]["merged"] == 0
    assert points["trunk"]["cost"] == min(point["cost"] for point in points.values())
    for chooser in "gates", "loss", "random", "together":
        assert points[chooser]["cost"] <= 0.75
    assert points["random"]["cost"] == points["loss"]["cost"]
    assert points["random"]["tree"] != points["loss"]["tree"]
    assert "tuned" in points["gates"]["change"] and "tuned" not in points["loss"]["change"]
    costs = [cost for cost, _ in made["path"]]
    assert costs == sorted(costs, reverse=True) and costs[-1] <= 0.75
    assert made["path"][0][1] == 0


def test_a_relabelled_tree_is_another_one_of_the_same_form(study):
    other = study.relabelled(TREE, ("x", "y", "z"), 0)
    assert other["a"] != TREE["a"] and set(other["b"]) == set(TREE["b"])
    assert sorted(map(len, other["a"])) == [1, 2]
    assert sorted(task for group in other["a"] for task in group) == ["x", "y", "z"]
    assert study.relabelled({"b": TREE["b"]}, ("x", "y", "z"), 0) is None


def test_a_tree_in_short_has_the_layers_at_which_somebody_parts(study):
    whole = {"first": (("x", "y", "z"),), "second": TREE["a"], "third": TREE["a"], "b": TREE["b"]}
    assert study.short(whole) == {"second": TREE["a"], "b": TREE["b"]}


def test_values_above_the_diagonal(study):
    assert study.pairs(torch.arange(9.0).reshape(3, 3)).tolist() == [1, 2, 5]
