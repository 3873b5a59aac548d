"""The study of what balancings cost: its table, and the steps that it times."""

import json

import pytest

pytest.importorskip("lightning_fabric")
pytest.importorskip("pandas")
pytest.importorskip("scipy")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

from studies import script

from tssbn.training.balancing import BALANCINGS


def test_balancing_cost(tmp_path, monkeypatch, capsys):
    cost = script("balancing_cost")
    assert set(cost.NAMES) == set(BALANCINGS) - {"sum"}
    held = {"hps": 3.0, "tssbn": 4.0}
    monkeypatch.setattr(
        cost, "peak_memory", lambda case: held[case.method] * (1 + (case.strategy == "famo"))
    )
    monkeypatch.setattr(cost.Case, "step", lambda case: list)
    cost.main(["famo"], 2, tmp_path)
    record = json.loads((tmp_path / "balancing/cost.json").read_text(encoding="utf-8"))
    assert record["memory_mib"]["tssbn"] == {"plain": 4, "famo": 8}
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][0] == "plain" and lines[2][0] == "famo"
    assert lines[1].count("1.00") == 4 and lines[2].count("2.00") >= 2


def test_a_step_of_the_study_of_costs_trains():
    cost = script("balancing_cost")
    for method in cost.METHODS:
        step = cost.Case(method, "gradnorm", batch=2).step()
        first, *_, last = (sum(step().values()) for _ in range(8))
        assert last < first
