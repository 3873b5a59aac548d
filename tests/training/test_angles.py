"""Angles between the tasks' gradients while a network trains, and losses that are weighted."""

import functools
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

import tiny
from lightning_fabric import Fabric
from torch import nn

from tssbn.__main__ import main
from tssbn.benchmarks.tasks import Task
from tssbn.gradients import cosines, task_gradients
from tssbn.methods import find_method
from tssbn.records.table import table
from tssbn.training import loop
from tssbn.training.balancing import Angles
from tssbn.training.epoch import train_epoch
from tssbn.training.loop import train
from tssbn.training.progress import NoCallback
from tssbn.training.run import Run

SMALL = {"n": 8, "filters": 2, "height": 32, "width": 32, "epochs": 1, "batch": 2}
CELLS = dict(rel=0, abs=0.5e-4 + 1e-9)  # cosines are written with four digits


def build(benchmark, method, targets):
    """The network of a method in float64, from seed 0, and its tasks."""
    tasks = benchmark.tasks(targets)
    torch.manual_seed(0)
    net = find_method(method).build(
        benchmark.network, {k: t.out_channels for k, t in tasks.items()}
    )
    return net.double(), tasks


def double(batch):
    return {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}


def step(net, tasks, batch, angles=None, weights=None):
    """One epoch of a single batch; the learning rate is 0."""
    fabric = Fabric(accelerator="cpu", devices=1)
    model, optimiser = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.0))
    return next(iter(train_epoch(fabric, model, optimiser, tasks, [batch], weights, angles)))


def expected(net, tasks, batch, filters):
    """By the package's functions, all losses on one graph; the layers one by one, then all."""
    predictions = net.train()(batch["image"])
    losses = {task: tasks[task].loss(predictions[task], batch[task]) for task in tasks}
    pairs = list(combinations(range(len(tasks)), 2))

    def cells(parameters):
        matrix = cosines(task_gradients(losses, parameters))
        return [matrix[pair].item() for pair in pairs]

    return {name: cells([weight]) for name, weight in filters.items()}, cells(filters.values())


# -- what is measured -----------------------------------------------------------------------------


@functools.cache
def measured(method):
    """A network of made rooms, its tasks, a batch, and the entry of a step on it."""
    benchmark = Run("rooms_segnet", method, settings=SMALL).benchmark
    data = benchmark.data("train")
    net, tasks = build(benchmark, method, data.targets)
    batch, angles = double(data[:4]), Angles(net, 1)
    step(net, tasks, batch, angles)
    return net, tasks, batch, angles.measured


def convolutions(net, *names):
    """The names of those within these parts."""
    found = (name for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    return [name for name in found if name.startswith(names)]


@pytest.mark.parametrize("method", ["hps", "tssbn", "mtan", "cross-stitch"])
def test_the_cosines_are_those_of_task_gradients(method):
    net, tasks, batch, entry = measured(method)
    shared = {name: net.get_submodule(name).weight for name in entry["layers"]}
    by_layer, together = expected(net, tasks, batch, shared)
    assert entry["steps"] == [1]
    assert entry["pairs"] == [list(pair) for pair in combinations(tasks, 2)]
    assert entry["all"] == [pytest.approx(together, **CELLS)]
    for name, cells in by_layer.items():
        assert entry["layers"][name] == [pytest.approx(cells, **CELLS)]
    assert max(abs(cell) for cell in together) > 0.01  # there was something to measure


@pytest.mark.parametrize("method", ["hps", "tssbn", "statistics"])
def test_one_trunk_shares_all_its_filters_and_no_head(method):
    net, _, _, entry = measured(method)
    assert list(entry["layers"]) == convolutions(net, "trunk.")


def test_mtan_shares_trunk_and_carriers_but_no_mask():
    net, _, _, entry = measured("mtan")
    assert list(entry["layers"]) == convolutions(net, "trunk.", "carries.")


def test_cross_stitched_trunks_share_all_but_what_follows_the_last_unit():
    net, tasks, _, entry = measured("cross-stitch")
    trunks = convolutions(net, *(f"networks.{task}.0." for task in tasks))
    last = convolutions(net, *(f"networks.{task}.0.decoder.0." for task in tasks))
    assert last and set(entry["layers"]) == set(trunks) - set(last)


def test_single_tasks_share_nothing_and_have_no_entry():
    assert "angles" not in train(tiny.run("stl"), accelerator="cpu", angles=1).record


@pytest.mark.parametrize("k", [1, 2])
def test_tasks_in_turn_give_the_angles_of_all_at_once(k):
    net, tasks, batch, entry = measured("tssbn")
    net.tasks_per_pass, angles = k, Angles(net, 1)
    try:
        step(net, tasks, batch, angles)
    finally:
        net.tasks_per_pass = None
    assert angles.measured == entry


def test_every_so_many_steps_over_all_epochs():
    """Three epochs of three steps."""
    assert train(tiny.run(), accelerator="cpu", angles=4).record["angles"]["steps"] == [1, 5, 9]
    entry = train(tiny.run(), accelerator="cpu", angles=1).record["angles"]
    assert entry["steps"] == list(range(1, 10)) and len(entry["all"]) == 9
    assert all(len(cells) == 9 for cells in entry["layers"].values())


def test_frozen_filters_are_not_measured():
    net, tasks, batch, entry = measured("hps")
    first, *others = entry["layers"]
    net.get_submodule(first).weight.requires_grad_(False)
    angles = Angles(net, 1)
    try:
        step(net, tasks, batch, angles)
    finally:
        net.get_submodule(first).weight.requires_grad_(True)
    assert list(angles.measured["layers"]) == others


# -- it changes nothing, and is not lost ----------------------------------------------------------


RUNS = {
    "hps": tiny.run("hps"),
    "tssbn": tiny.run("tssbn", tasks_per_pass=1, optimiser="adam"),
    "mtan": Run("rooms_segnet", "mtan", settings=SMALL),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_measured_run_is_bit_for_bit_the_run(name):
    plain, seen = (train(RUNS[name], accelerator="cpu", angles=every) for every in (0, 2))
    assert "angles" in seen.record and "angles" not in plain.record
    for one, other in zip(
        plain.net.state_dict().values(), seen.net.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)
    for one, other in zip(plain.record["epochs"], seen.record["epochs"], strict=True):
        assert (one["losses"], one["test"]) == (other["losses"], other["test"])


def test_angles_are_measured_in_half_precision():
    full, half = (
        train(tiny.run("hps"), accelerator="cpu", angles=1, precision=precision)
        for precision in ("32", "bf16")
    )
    assert half.record["angles"]["all"][0] == pytest.approx(
        full.record["angles"]["all"][0], abs=0.05
    )


class Stop(NoCallback):
    """Ends the run after its first epoch."""

    def epoch(self, entry):
        raise KeyboardInterrupt


def test_a_resumed_run_goes_on_counting(tmp_path):
    whole = train(tiny.run(), accelerator="cpu", angles=2).record["angles"]
    with pytest.raises(KeyboardInterrupt):
        train(tiny.run(), tmp_path, accelerator="cpu", angles=2, callback=Stop())
    resumed = train(tiny.run(), tmp_path, resume=True, accelerator="cpu", angles=2)
    assert whole["steps"] == [1, 3, 5, 7, 9]
    assert resumed.record["angles"] == whole


# -- errors, and the command line -----------------------------------------------------------------


def test_what_cannot_be_measured_is_refused(monkeypatch):
    with monkeypatch.context() as patch:  # as on a GPU: the CPU has no such precision
        patch.setattr(loop, "make_fabric", lambda *_: Fabric(accelerator="cpu", devices=1))
        with pytest.raises(ValueError, match=r"angles=2 needs one device .* got 1 and '16'"):
            train(tiny.run(), precision="16", angles=2)
    with pytest.raises(ValueError, match="every=-1 must be at least 1"):
        train(tiny.run(), accelerator="cpu", angles=-1)
    with pytest.raises(ValueError, match="every=0 must be at least 1"):
        Angles(nn.Linear(1, 1), 0)


def test_on_the_command_line(here):
    pytest.importorskip("tqdm")
    settings = [f"{key}={value}" for key, value in SMALL.items()]
    command = ["train", "rooms", "--method", "hps", "--quiet", "--angles", "3", "--set", *settings]
    assert main(command) == 0
    (path,) = Path("data/results/rooms").glob("hps-0-*.json")
    assert json.loads(path.read_text())["angles"]["steps"] == [1, 4]


# -- weights of the losses ------------------------------------------------------------------------


def test_a_weight_is_part_of_the_name_and_one_of_1_is_none():
    run = Run("rooms", "hps", 2, {"weight.depth": 2, "n": 16})
    assert run.name == "rooms/hps-2-n=16-weight.depth=2.0"
    assert run.benchmark.recipe.weights == {"depth": 2}
    for one in 1, 1.0:
        run = Run("rooms", "hps", 2, {"weight.depth": one})
        assert (run.name, run.benchmark.recipe.weights) == ("rooms/hps-2", {})


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_weight_is_positive_and_finite(weight):
    with pytest.raises(ValueError, match=rf"weight of 'depth' is {weight}, it must be positive"):
        Run("rooms", "hps", settings={"weight.depth": weight})


@pytest.mark.parametrize("weight", [True, "2", None])
def test_a_weight_is_a_number(weight):
    with pytest.raises(ValueError, match=r"setting weight.depth=.* must be of type float"):
        Run("rooms", "hps", settings={"weight.depth": weight})


def test_a_weight_of_an_unknown_task_is_refused():
    run = Run("rooms", "hps", settings={**SMALL, "weight.colour": 2.0})
    with pytest.raises(ValueError, match=r"weights are given of \['colour'\], the tasks are \['se"):
        train(run, accelerator="cpu")


@pytest.mark.parametrize("method", ["hps", "tssbn", "stl"])
def test_the_gradient_is_scaled_and_the_recorded_loss_is_not(method):
    """SGD at rate 1 and from the same start: the step is the negative gradient."""
    weights, steps, seen = {"parts": 3.0, "depth": 0.5}, {}, {}
    for name, given in ("plain", {}), ("weighted", weights):
        net, tasks = build(tiny.run(method).benchmark, method, tiny.TARGETS)
        before = {key: value.detach().clone() for key, value in net.named_parameters()}
        fabric = Fabric(accelerator="cpu", devices=1)
        model, optimiser = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=1.0))
        batch = double(tiny.data("train")[:4])
        (seen[name],) = train_epoch(fabric, model, optimiser, tasks, [batch], given)
        steps[name] = {key: before[key] - value for key, value in net.named_parameters()}
    assert seen["plain"] == seen["weighted"]

    net, tasks = build(tiny.run(method).benchmark, method, tiny.TARGETS)
    predictions = net.train()(batch["image"])
    losses = {task: tasks[task].loss(predictions[task], batch[task]) for task in tasks}
    parameters = dict(net.named_parameters())
    rows = task_gradients(losses, parameters.values())
    for name, factors in ("plain", [1.0, 1.0]), ("weighted", [weights[task] for task in tasks]):
        total = torch.cat([steps[name][key].flatten() for key in parameters])
        torch.testing.assert_close(total, torch.tensor(factors).double() @ rows)
    assert not torch.allclose(rows[0], torch.zeros(()).double())


def test_a_run_takes_its_weights():
    run = tiny.run("hps", epochs=1)
    recipe = replace(run.benchmark.recipe, weights={"depth": 2.0})
    weighted = train(tiny.changed(run, recipe=recipe), accelerator="cpu")

    def tasks(targets):
        found = run.benchmark.tasks(targets)
        return {**found, "depth": replace(found["depth"], loss=doubled(found["depth"]))}

    other = train(tiny.changed(run, tasks=tasks), accelerator="cpu")
    for one, two in zip(
        weighted.net.state_dict().values(), other.net.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)
    assert weighted.record["recipe"]["weights"] == {"depth": 2.0}


def doubled(task: Task):
    return lambda prediction, target: 2.0 * task.loss(prediction, target)


def made(method, seed, weights, **changes):
    """A record of rooms, or what is left of it for a table."""
    recipe = {
        "epochs": 1,
        "report": "last",
        **({"weights": weights} if weights is not None else {}),
    }
    settings = {f"weight.{task}": weight for task, weight in (weights or {}).items()}
    return {
        "benchmark": "rooms",
        "method": method,
        "seed": seed,
        "settings": settings,
        "options": {},
        "recipe": recipe,
        "data": {
            "kind": "synthetic",
            "splits": {"test": {"samples": 4, "official": None, "sha256": "a"}},
        },
        "device": "a CPU",
        "precision": "32",
        "parameters": 100,
        "macs": 100,
        "directions": {"depth": False},
        "metric": {"depth": "absolute"},
        "epochs": [{"epoch": 1, "test": {"depth": {"absolute": 0.5}}}],
        "finished": True,
        **changes,
    }


def test_weighted_and_plain_records_never_share_a_table():
    weighted = made("hps", 0, {"depth": 2.0})
    assert table("rooms", [weighted]).rows[0].seeds == (0,)
    with pytest.raises(ValueError, match="cannot stand beside"):
        table("rooms", [made("stl", 0, {}), weighted])
    with pytest.raises(ValueError, match=r"'weights' of recipe is \{'depth': 2.0\} and None"):
        table("rooms", [made("stl", 0, {}), {**weighted, "settings": {}}])


def test_records_from_before_there_were_weights_stand_beside_new_ones():
    rows = table("rooms", [made("stl", 0, None), made("hps", 0, {}), made("hps", 1, None)]).rows
    assert [row.seeds for row in rows if row.seeds] == [(0,), (0, 1)]
