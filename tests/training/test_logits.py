"""The logits of attributes in a saved run: those of the network, in the order of the images."""

from functools import partial

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import tiny

from tssbn.benchmarks import Benchmark, Recipe
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.target import Target
from tssbn.methods import Network
from tssbn.metrics.attributes import Attributes
from tssbn.records import SavedRun, f1_at_validation_thresholds
from tssbn.training.loop import train
from tssbn.training.run import Run

TARGETS = {"hat": Target("attribute"), "age": Target("number"), "tie": Target("attribute")}


def data(split, root=None):
    random, n = (
        torch.Generator().manual_seed(len(split)),
        {"train": 40, "val": 30, "test": 23}[split],
    )
    tensors = {"image": torch.rand(n, 3, 4, 4, generator=random), "age": torch.ones(n)}
    for task in ("hat", "tie"):
        tensors[task] = torch.randint(-1, 2, (n,), generator=random)
    return Stored(tensors, TARGETS)


def trunk():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.BatchNorm1d(8), nn.ReLU())


def trained(report):
    return train(
        Run(
            Benchmark(
                name="people",
                title="people",
                data=data,
                network=Network(trunk, partial(nn.Linear, 8), torch.rand(2, 3, 4, 4)),
                tasks=tasks_for,
                recipe=Recipe(epochs=2, batch=8, lr=0.01, report=report),
            ),
            "tssbn",
        )
    )


def test_logits_are_those_of_the_trained_network():
    net, record = trained("val")
    run = SavedRun("people/tssbn-0", record)
    assert record["logits"]["epoch"] == 2
    exact = {}
    for split in ("val", "test"):
        with torch.no_grad():
            outputs = net(data(split)[:]["image"])
        exact[split] = {task: outputs[task].flatten() for task in ("hat", "tie")}
        assert list(run.logits(split)) == ["hat", "tie"]
        for task, logits in run.logits(split).items():
            reach = exact[split][task].max() - exact[split][task].min()
            assert (logits - exact[split][task]).abs().max() <= reach / 510 + 1e-5
    labels = {split: {t: data(split)[:][t] for t in ("hat", "tie")} for split in ("val", "test")}
    found = f1_at_validation_thresholds(exact, labels)
    stored = run.f1_at_validation_thresholds()
    assert stored == pytest.approx({task: entry["f1"] for task, entry in found.items()}, rel=1e-5)
    # At 0 the thresholds are those of the metric.
    for task in ("hat", "tie"):
        metric = Attributes(inputs="logits")
        metric.update(exact["test"][task], labels["test"][task])
        last = record["epochs"][-1]["test"][task]
        assert last == pytest.approx(
            {k: v for k, v in metric.compute().items() if isinstance(v, float)}, rel=1e-4
        )


def test_without_validation_images_there_are_logits_but_no_thresholds():
    record = trained("last").record
    run = SavedRun("people/tssbn-0", record)
    assert run.logits()["hat"].shape == (23,) and "thresholds" not in record
    with pytest.raises(ValueError, match="split='val': people/tssbn-0 has the logits of test"):
        run.logits("val")
    with pytest.raises(ValueError, match="without thresholds chosen on validation"):
        run.f1_at_validation_thresholds()


def test_the_logits_of_large_sets_are_left_out_but_not_what_they_gave(monkeypatch):
    expected = trained("val").record
    monkeypatch.setattr("tssbn.training.describe.LOGITS", 2 * (30 + 23) - 1)
    record = trained("val").record
    assert "logits" in expected and "logits" not in record
    assert record["thresholds"] == expected["thresholds"]


def test_other_tasks_have_no_logits_in_the_run():
    record = train(tiny.run("tssbn", epochs=1)).record
    assert "logits" not in record
    with pytest.raises(ValueError, match="has the logits of no split"):
        SavedRun("tiny/tssbn-0", record).logits()
