"""Tasks by the kind of their targets, and training where labels are missing."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from lightning_fabric import Fabric

from tssbn import MultiTask, task_specific
from tssbn.benchmarks import Benchmark, Recipe
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.target import Target
from tssbn.methods import Network
from tssbn.metrics.attributes import Attributes
from tssbn.metrics.classification import Classification, WordClassification
from tssbn.metrics.depth import Depth
from tssbn.metrics.normals import Normals
from tssbn.metrics.regression import Regression
from tssbn.metrics.segmentation import Segmentation
from tssbn.training.epoch import evaluate, train_epoch
from tssbn.training.loop import train
from tssbn.training.run import Run

PEOPLE = {
    "age": Target("number", unit="decades"),
    "place": Target("class", ("inside", "outside", "unsure")),
    "smile": Target("attribute"),
}


@pytest.mark.parametrize(
    ("target", "channels", "metric", "unit"),
    [
        (Target("classes", ("a", "b", "c")), 3, Segmentation, "%"),
        (Target("depth", ignore=0), 1, Depth, "m"),
        (Target("depth"), 1, Depth, "m"),
        (Target("disparity", ignore=-1), 1, Depth, ""),
        (Target("normal"), 3, Normals, "°"),
        (Target("class", ("a", "b")), 2, Classification, "%"),
        (Target("words", ("a", "b"), ignore=-1), 2, WordClassification, "%"),
        (Target("attribute"), 1, Attributes, "%"),
        (Target("number", unit="years"), 1, Regression, "years"),
    ],
)
def test_a_kind_has_its_channels_metric_and_unit(target, channels, metric, unit):
    task = tasks_for({"task": target})["task"]
    made = task.metric()
    assert (task.out_channels, type(made), made.unit) == (channels, metric, unit)


@pytest.mark.parametrize("kind", ["depth", "number"])
def test_loss_and_metric_of_a_batch_agree(kind):
    target = Target(kind, ignore=0 if kind == "depth" else None)
    task, shape = tasks_for({"task": target})["task"], (4, 1, 3, 2) if target.dense else (4,)
    prediction = torch.rand(4, 1, 3, 2) if target.dense else torch.rand(4, 1)
    labels = torch.rand(shape, dtype=torch.float64).where(torch.rand(shape) < 0.7, torch.nan)
    metric = task.metric()
    metric.update(prediction.double(), labels)
    loss = task.loss(prediction.double(), labels).item()
    assert metric.compute()["absolute"] == pytest.approx(loss, rel=1e-14)


def people(n, seed=0, missing=()):
    """Noise whose mean tells all three; the tasks in `missing` have no label, others some."""
    random = torch.Generator().manual_seed(seed)
    level = torch.rand(n, generator=random)
    image = level.view(n, 1, 1, 1) + 0.1 * torch.rand(n, 3, 4, 4, generator=random)
    labels = {"age": 4 * level, "place": (3 * level).long(), "smile": (level > 0.5).long()}
    for i, (name, value) in enumerate(labels.items()):
        where = torch.arange(n) % 3 == i if name not in missing else torch.ones(n, dtype=bool)
        labels[name] = value.masked_fill(where, PEOPLE[name].missing)
    return Stored({"image": image, **labels}, PEOPLE)


def trunk(norm=nn.BatchNorm2d):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), norm(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def network(chosen):
    heads = {name: nn.Linear(8, task.out_channels) for name, task in chosen.items()}
    return MultiTask(task_specific(trunk(), list(heads)), heads)


def test_each_task_learns_from_the_labels_that_are_there():
    chosen, data = tasks_for(PEOPLE), people(60)
    net, fabric = network(chosen), Fabric(accelerator="cpu", devices=1)
    net, optimiser = fabric.setup(net, torch.optim.Adam(net.parameters(), lr=0.02))
    before = evaluate(net, chosen, [data[:]])
    for epoch in range(80):
        order = torch.randperm(60, generator=torch.Generator().manual_seed(epoch))
        list(train_epoch(fabric, net, optimiser, chosen, [data[part] for part in order.split(20)]))
    after = evaluate(net, chosen, [people(60, seed=1)[:]])
    assert after["age"]["absolute"] < 0.4 < before["age"]["absolute"]
    assert after["place"]["accuracy"] > 0.7 > before["place"]["accuracy"]
    assert after["smile"]["f1"] > 0.8


def test_a_task_without_labels_leaves_its_head_and_gates_alone():
    chosen, data = tasks_for(PEOPLE), people(12, missing=("place",))
    net, fabric = network(chosen), Fabric(accelerator="cpu", devices=1)
    before = {name: value.clone() for name, value in net.named_parameters()}
    net, optimiser = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.1))
    (losses,) = train_epoch(fabric, net, optimiser, chosen, [data[:]])
    assert losses["place"] == 0 and losses["age"] > 0
    for name, value in net.module.named_parameters():
        assert value.isfinite().all()
        if name.startswith("heads.place"):
            assert torch.equal(value, before[name])
        elif name.startswith("heads"):
            assert not torch.equal(value, before[name])
    (gates,) = (value for name, value in net.module.named_parameters() if "gamma" in name)
    (first,) = (value for name, value in before.items() if "gamma" in name)
    moved = (gates != first).any(1).tolist()
    assert moved == [True, False, True]
    values = evaluate(net, chosen, [data[:]])["place"]
    assert math.isnan(values["accuracy"]) and all(map(math.isnan, values["recall"]))


@pytest.mark.parametrize("method", ["tssbn", "stl"])
def test_a_whole_run_with_missing_labels_is_recorded(method):
    """The task that has no label at all has null in the saved run."""
    benchmark = Benchmark(
        name="people",
        title="people",
        data=lambda split, root: people(12, missing=("smile",)),
        network=Network(trunk, partial(nn.Linear, 8), torch.rand(2, 3, 4, 4)),
        tasks=tasks_for,
        recipe=Recipe(epochs=2, batch=5, lr=0.1, optimiser="sgd"),
    )
    _, record = train(Run(benchmark, method))
    last = record["epochs"][-1]["test"]
    assert last["smile"] == dict.fromkeys(("f1", "average_precision", "auc", "cross_entropy"))
    assert all(
        math.isfinite(last[task][name])
        for task, name in record["metric"].items()
        if task != "smile"
    )
    assert record["metric"] == {"age": "absolute", "place": "accuracy", "smile": "f1"}
    assert record["directions"] == {"age": False, "place": True, "smile": True}


def test_a_metric_of_ones_own_takes_the_place_of_the_first():
    task = tasks_for(PEOPLE)["age"]
    other = replace(task, metric=partial(Regression, "years"))
    assert other.metric().unit == "years" and task.metric().unit == "decades"
