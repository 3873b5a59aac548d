"""The study that removes filters from trained networks."""

import importlib.util
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

import tiny

from tssbn.gates import Importance, ablated, importance, most_specialised
from tssbn.records import store as records
from tssbn.training.epoch import evaluate
from tssbn.training.loop import train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def removal():
    spec = importlib.util.spec_from_file_location("removal", ROOT / "book/studies/removal.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_gates():
    values = torch.rand(3, 90, generator=torch.Generator().manual_seed(0)).double()
    return Importance(values, ("a", "b", "c"), {"first": 30, "second": 60})


def test_the_ways_to_choose(removal):
    gates = made_gates()
    chosen = removal.choices(gates, 9, 4, torch.Generator().manual_seed(0))
    own = chosen["own"][0]
    assert torch.equal(own, most_specialised(gates, 9))
    for kind, sets in chosen.items():
        assert len(sets) == (4 if kind in ("random", "matched", "shuffled") else 1)
        for one in sets:
            assert one.shape == (3, 90) and (one.sum(1) == 9).all(), kind
    for kind, order in ("widest", True), ("least", False):
        for row, values in zip(chosen[kind][0], gates.values, strict=True):
            expected = values.sort(descending=order).values[:9]
            assert set(values[row].tolist()) == set(expected.tolist())
    for one in chosen["matched"]:
        for part, wanted in zip(one.split([30, 60], 1), own.split([30, 60], 1), strict=True):
            assert torch.equal(part.sum(1), wanted.sum(1))
    drawn = [one for kind in ("random", "matched", "shuffled") for one in chosen[kind]]
    assert not any(torch.equal(one, own) for one in drawn)
    assert len({tuple(one.flatten().tolist()) for one in drawn}) == len(drawn)


def test_the_record_has_what_the_networks_score(removal, tmp_path):
    run = tiny.run()
    record = removal.study(run, images=5, draws=2, runs=tmp_path)
    net, trained = train(run, folder=tmp_path / run.name, resume=True)
    last = trained["epochs"][-1]["test"]
    metrics = trained["metric"]
    assert record["base"] == pytest.approx([last[t][m] for t, m in metrics.items()], rel=1e-5)
    assert (record["filters"], record["count"]) == (8, 1)
    assert {kind: len(sets) for kind, sets in record["without"].items()} == {
        "own": 1, "widest": 1, "least": 1, "random": 2, "matched": 2, "shuffled": 2
    }  # fmt: skip

    data = run.benchmark.data("test")
    tasks = run.benchmark.tasks(data.targets)
    for count, matrix in ("1", record["without"]["own"][0]), ("2", record["sweep"]["2"]):
        sets = most_specialised(importance(net), int(count))
        for filters, row in zip(sets, matrix, strict=True):
            with ablated(net, filters):
                scores = evaluate(net, tasks, [data[[0, 1, 2, 3]], data[[4]]])
            assert row == [scores[task][metric] for task, metric in metrics.items()]

    again = removal.study(run, images=5, draws=2, runs=tmp_path)
    assert again["without"] == record["without"]
    assert records.write("removal/tiny-0", record, tmp_path).is_file()


def test_committed_records_agree_with_the_study(removal):
    found = records.found("removal", ROOT / "data/results")
    assert found
    for record in found:
        benchmark = record["benchmark"]
        count = round(removal.SHARE * record["filters"])
        assert record["count"] == count and record["images"] == removal.IMAGES[benchmark]
        assert set(record["sweep"]) == {str(round(more * count)) for more in removal.SWEEP}
        tasks = len(record["metric"])
        assert len(record["base"]) == tasks
        for sets in record["without"].values():
            assert len(sets) in (1, removal.DRAWS[benchmark])
            assert all(len(one) == tasks and len(one[0]) == tasks for one in sets)
