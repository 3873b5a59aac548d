"""The study of stacked against separate passes: its table, and the steps that it times."""

import json

import pytest

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

from studies import script


def test_the_table_has_ratios_of_separate_over_stacked(tmp_path, monkeypatch, capsys):
    cost = script("stacking_cost")
    monkeypatch.setattr(cost, "peak_memory", lambda case: 1 + 3 * (case.strategy == "stacked"))
    monkeypatch.setattr(cost.Case, "step", lambda case: list)
    cost.main(["lora"], 2, tmp_path)
    record = json.loads((tmp_path / "stacking/cost.json").read_text(encoding="utf-8"))
    assert record["memory_mib"]["lora"] == {"stacked": 4, "separate": 1}
    record["seconds"]["lora"] = {"stacked": [2, 4, 3], "separate": [3, 2, 3]}
    assert cost.table(record).splitlines()[1].endswith("  1.00 (0.75 to 1.25)  0.25")
    _, row, _ = capsys.readouterr().out.splitlines()
    assert row.split()[:2] == ["lora", "adapt"] and row.split()[-1] == "0.25"


@pytest.mark.parametrize("method", ["lora", "tssbn"])
def test_both_ways_give_the_same_gradients(method):
    cost = script("stacking_cost")
    given = {}
    for way in cost.WAYS:
        step = cost.Case(method, way, batch=2).step()
        assert len(list(step.net.passes())) == (3 if way == "separate" else 1)
        step.net.double()
        step.images = step.images.double()
        step.add_gradients()
        given[way] = [p.grad for p in step.net.parameters() if p.grad is not None]
    assert given["stacked"]
    for one, other in zip(given["stacked"], given["separate"], strict=True):
        assert (one - other).abs().max() <= 1e-9 * (1 + one.abs().max())
