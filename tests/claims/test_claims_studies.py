"""Numbers of the studies: gains on the names of characters."""

import json

import pytest

pytest.importorskip("scipy")
pytest.importorskip("pandas")

from tssbn.claims.studies import gains_on_names


def scored(*values):
    return {task: {"f1": value} for task, value in zip(("a", "b"), values, strict=True)}


def test_gains_on_names_are_by_method_multiplier_and_gates(folder):
    assert gains_on_names() == {}
    found = [
        {"method": "stl", "multiplier": 1, "test": scored(0.4, 0.8)},
        {"method": "stl", "multiplier": 1, "test": scored(0.6, 0.8)},
        {"method": "hps", "multiplier": 1, "test": scored(0.5, 0.4)},
        {
            "method": "tssln",
            "multiplier": 10,
            "test": scored(0.5, 0.8),
            "shuffled": scored(0.25, 0.4),
        },
    ]
    path = folder / "beyond_vision/names.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"runs": found}))
    gains = gains_on_names()
    assert list(gains) == ["HPS", "TSσLN ×10"]
    assert gains["HPS"][""] == pytest.approx([-25])  # 0 and -50
    assert gains["TSσLN ×10"] == {"": pytest.approx([0]), "shuffled": pytest.approx([-50])}
