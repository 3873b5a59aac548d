"""How losses become gradients: the formulas, what they leave alone, and runs that are balanced."""

import copy
import json
import math
import sys
from dataclasses import replace
from functools import cache, partial
from itertools import permutations
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

import tiny
from balancings import KINDS, STATEFUL, Plane, needing
from lightning_fabric import Fabric

import tssbn
from tssbn.__main__ import main
from tssbn.benchmarks import dummy_images
from tssbn.gradients import orthogonality
from tssbn.methods import Network, find_method
from tssbn.networks.deeplab import dilated_resnet
from tssbn.training import checkpoint, loop, trainer
from tssbn.training.balancing import (
    BALANCINGS,
    Aggregated,
    Balancing,
    Observer,
    Scalarised,
    SecondOrder,
    cosreg,
    find_balancing,
    uw,
)
from tssbn.training.epoch import train_epoch
from tssbn.training.jobs import load_queue
from tssbn.training.loop import train
from tssbn.training.progress import NoCallback
from tssbn.training.run import Run

SMALL = {"n": 8, "filters": 2, "height": 32, "width": 32, "epochs": 1, "batch": 4}
SHARING = ("hps", "cross-stitch", "mtan", "tssbn")
FABRIC = Fabric(accelerator="cpu", devices=1)


every_kind = pytest.mark.parametrize("name", needing(KINDS))


NETWORK = Network(  # the shallowest trunk that all of SHARING take
    partial(dilated_resnet, (1, 1, 1, 1), (2, 2, 2, 2)),
    lambda outputs: nn.Sequential(nn.Conv2d(8, outputs, 1), nn.Upsample(scale_factor=8)),
    dummy_images(32, 32),
)


@cache
def four_rooms():
    """Tasks and a batch of synthetic rooms in float64."""
    benchmark = Run("rooms_segnet", "hps", settings=SMALL).benchmark
    data = benchmark.data("train")
    batch = {k: v.double() if v.is_floating_point() else v for k, v in data[:4].items()}
    return benchmark.tasks(data.targets), batch


def rooms(method):
    """A network for synthetic rooms in float64, its tasks and a batch."""
    tasks, batch = four_rooms()
    torch.manual_seed(0)
    net = find_method(method).build(NETWORK, {k: t.out_channels for k, t in tasks.items()})
    with torch.no_grad():
        for p in net.parameters():  # no prediction is exactly 0, where a normal has no direction
            p += 0.01 * torch.randn_like(p)
    return net.double(), tasks, dict(batch)


def gradients(net, tasks, batch, balancing, weights=None):
    """What the optimiser would see: the gradient of each parameter, None where there is none."""
    seen = {}

    class Look(torch.optim.SGD):
        def step(self, closure=None):
            seen.update({k: None if p.grad is None else p.grad.clone() for k, p in named})

    named = list(net.named_parameters())
    own = [dict(group) for group in balancing.groups(0.1)]
    model, optimiser = FABRIC.setup(net, Look([{"params": list(net.parameters())}, *own], lr=0.1))
    named += [(f"own.{k}", p) for k, p in balancing.named_parameters()]
    list(train_epoch(FABRIC, model, optimiser, tasks, [batch], weights, balancing))
    return seen


def combined(rows, weighting, own=3.0):
    """The gradient of w where the tasks have these rows, and those of the tasks' own numbers."""
    net = Plane(rows, len(next(iter(rows.values()))))
    balancing = Aggregated(net, weighting)
    losses = {
        t: torch.tensor(g, dtype=torch.float64) @ net.w + own * net.own[t] for t, g in rows.items()
    }
    balancing.backward(net, losses, FABRIC)
    balancing.finish(net, FABRIC)
    return net.w.grad, {t: p.grad.item() for t, p in net.own.items()}


def same(one, other):
    """Whether two networks agree in every bit."""
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def assert_close(one, other, **tolerances):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert (value is None) == (other[key] is None), key
        if value is not None:
            torch.testing.assert_close(value, other[key], **tolerances)


# -- the plain sum --------------------------------------------------------------------------------


def plainly(net, optimiser, tasks, batches, weights):
    """The loop of training without balancings."""
    net.train()
    for batch in batches:
        for chunk in net.passes():
            predictions = net(batch["image"], chunk)
            part = {task: tasks[task].loss(predictions[task], batch[task]) for task in chunk}
            sum(weights.get(task, 1.0) * loss for task, loss in part.items()).backward()
        optimiser.step()
        optimiser.zero_grad()


@pytest.mark.parametrize("per_pass", [None, 1])
@pytest.mark.parametrize("method", [*SHARING, "stl"])
def test_the_plain_sum_is_bit_for_bit_the_loop_without_balancings(method, per_pass):
    nets, weights = [], {"depth": 0.3}
    for way in "plainly", "balanced":
        net, tasks, batch = rooms(method)
        net.float()
        net.tasks_per_pass = per_pass
        batch = {k: v.float() if v.is_floating_point() else v for k, v in batch.items()}
        optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
        if way == "plainly":
            plainly(net, optimiser, tasks, [batch] * 3, weights)
        else:
            model, optimiser = FABRIC.setup(net, optimiser)
            list(train_epoch(FABRIC, model, optimiser, tasks, [batch] * 3, weights, Balancing()))
        nets.append(net)
    assert same(*nets)


def test_the_plain_sum_has_nothing_to_learn_and_nothing_to_keep():
    assert Balancing().groups(0.1) == [] and not Balancing().state_dict()


# -- one function of the losses -------------------------------------------------------------------


def test_the_gradients_of_uncertainty_weighting():
    """½ exp(-s_t) of each task's gradient, heads and gates included; ½ (1 - exp(-s_t) L_t) of s."""
    net, tasks, batch = rooms("tssbn")
    balancing = uw.balancing(net).double()
    s = balancing.scalariser.log_variance
    with torch.no_grad():
        s.copy_(torch.tensor([0.5, -1.0, 2.0]))
    factors = {t: (math.exp(-value) / 2) for t, value in zip(tasks, s.tolist(), strict=True)}
    expected = gradients(net, tasks, batch, Balancing(), factors)
    found = gradients(net, tasks, batch, balancing)
    of_s = found.pop("own.scalariser.log_variance")
    assert_close(found, expected)
    predictions = net.train()(batch["image"])
    losses = torch.stack([tasks[t].loss(predictions[t], batch[t]).detach() for t in tasks])
    torch.testing.assert_close(of_s, (1 - (-s.detach()).exp() * losses) / 2)


def test_at_its_start_uncertainty_weighting_is_half_the_plain_sum():
    """Exactly: halving loses no bit."""
    net, tasks, batch = rooms("hps")
    plain, found = (gradients(net, tasks, batch, b) for b in (Balancing(), uw.balancing(net)))
    assert all(torch.equal(found[key], value / 2) for key, value in plain.items())


def test_uncertainty_weighting_rests_where_the_variance_is_the_loss():
    losses = torch.tensor([0.1, 2.0, 30.0], dtype=torch.float64)
    rest = uw.UncertaintyWeighting(3).double()
    with torch.no_grad():
        rest.log_variance.copy_(losses.log())
    rest(losses).backward()
    torch.testing.assert_close(rest.log_variance.grad, torch.zeros(3).double(), atol=1e-15, rtol=0)


def test_uncertainty_weighting_is_that_of_torchjd():
    theirs = pytest.importorskip("torchjd.scalarization").UW(4)
    ours, losses = uw.UncertaintyWeighting(4), torch.rand(4)
    s = torch.randn(4)
    with torch.no_grad():
        theirs.log_var.copy_(s)
        ours.log_variance.copy_(s)
    torch.testing.assert_close(ours(losses), theirs(losses))


def test_log_variances_learn_at_a_rate_of_their_own_without_decay():
    """Under Adam the first step is the learning rate, up to its epsilon."""
    recipe = {"optimiser": "adam", "weight_decay": 0.5, "epochs": 1, "batch": 12, "lr": 1e-3}
    for rate in 0.25, 0.5:
        balancing = trained(balanced("uw", "hps", {"lr": rate}, **recipe)).balancing
        moved = balancing.scalariser.log_variance.abs()
        torch.testing.assert_close(moved, torch.full((2,), rate), rtol=1e-4, atol=0)
    groups = Scalarised(uw.UncertaintyWeighting(2)).groups(0.125)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.125, 0.0)]


def trained(run):
    """The training of a run, after it."""
    found = []
    make = trainer.Trainer.__init__

    def note(self, *arguments):
        make(self, *arguments)
        found.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.Trainer, "__init__", note)
        train(run, accelerator="cpu")
    return found[0]


def test_a_loss_weight_multiplies_before_the_balancing():
    net, tasks, batch = rooms("hps")
    doubled = {
        **tasks,
        "depth": replace(tasks["depth"], loss=lambda y, truth: 2 * tasks["depth"].loss(y, truth)),
    }
    squared = Scalarised(lambda losses: losses.square().sum())
    weighted = gradients(net, tasks, batch, squared, {"depth": 2.0})
    assert_close(weighted, gradients(net, doubled, batch, squared))
    plain = gradients(net, tasks, batch, squared)
    name = next(iter(plain))
    assert not torch.allclose(weighted[name], plain[name])


@pytest.mark.parametrize("lr", [0.0, -1.0, math.nan])
def test_a_rate_that_is_none_is_refused(lr):
    with pytest.raises(ValueError, match=f"lr={lr} must be positive, or None"):
        Scalarised(torch.sum, lr)


# -- weights on the tasks' gradients --------------------------------------------------------------


@pytest.mark.parametrize("per_pass", [None, 1, 2])
@pytest.mark.parametrize("method", SHARING)
def test_rows_with_weights_of_one_are_the_plain_sum(method, per_pass):
    net, tasks, batch = rooms(method)
    net.tasks_per_pass = per_pass
    plain = gradients(net, tasks, batch, Balancing())
    ones = Aggregated(net, lambda gramian: torch.ones(len(gramian)))
    assert_close(gradients(net, tasks, batch, ones), plain, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("method", SHARING)
def test_weights_reach_what_the_tasks_share_and_nothing_else(method):
    """Weights of zero leave the shared parameters without a gradient, the others with theirs."""
    net, tasks, batch = rooms(method)
    plain = gradients(net, tasks, batch, Balancing())
    none = Aggregated(net, lambda gramian: torch.zeros(len(gramian)))
    found, shared = gradients(net, tasks, batch, none), {id(p) for p in net.shared()}
    for name, p in net.named_parameters():
        if id(p) in shared:
            assert not found[name].any()
        else:
            torch.testing.assert_close(found[name], plain[name], rtol=1e-10, atol=1e-14)
    assert 0 < len(shared) < len(plain)


def test_the_products_of_the_rows_and_what_they_make():
    rows = {"a": [1.0, 2.0, 0.0], "b": [0.0, -1.0, 1.0], "c": [3.0, 0.0, 0.0]}
    seen = []

    def weighting(gramian):
        seen.append(gramian)
        return torch.tensor([1.0, 10.0, 100.0])

    d, own = combined(rows, weighting)
    assert seen[0].tolist() == [[5.0, -2.0, 3.0], [-2.0, 2.0, 0.0], [3.0, 0.0, 9.0]]
    assert seen[0].dtype == torch.float64
    assert d.tolist() == [301.0, -8.0, 10.0] and own == {"a": 3.0, "b": 3.0, "c": 3.0}


def test_pcgrad_by_hand():
    """(1, 0) loses its part against (-½, 1), and the other way round: (.8, .4) + (0, 1)."""
    weighting = pytest.importorskip("torchjd.aggregation").PCGradWeighting()
    for order in permutations("ab"):
        rows = {"a": [1.0, 0.0], "b": [-0.5, 1.0]}
        d, _ = combined({task: rows[task] for task in order}, weighting)
        torch.testing.assert_close(d, torch.tensor([0.8, 1.4], dtype=torch.float64))


def test_pcgrad_of_two_tasks_does_not_depend_on_their_order():
    weighting = pytest.importorskip("torchjd.aggregation").PCGradWeighting()
    for _ in range(10):
        one, other = torch.randn(2, 7).tolist()
        there, _ = combined({"a": one, "b": other}, weighting)
        back, _ = combined({"b": other, "a": one}, weighting)
        torch.testing.assert_close(there, back, rtol=1e-12, atol=1e-14)


def test_pcgrad_without_conflict_is_the_sum():
    weighting = pytest.importorskip("torchjd.aggregation").PCGradWeighting()
    rows = torch.rand(4, 9).double()  # all positive, so that all products are
    d, _ = combined({str(t): row.tolist() for t, row in enumerate(rows)}, weighting)
    torch.testing.assert_close(d, rows.sum(0), rtol=1e-14, atol=0)
    orthogonal, _ = combined({"a": [2.0, 0.0, 0.0], "b": [0.0, 0.0, -3.0]}, weighting)
    assert orthogonal.tolist() == [2.0, 0.0, -3.0]


def test_weights_from_products_give_what_torchjd_makes_of_the_matrix():
    """Of PCGrad for two tasks, whose order does not matter, and of MGDA for five."""
    aggregation = pytest.importorskip("torchjd.aggregation")
    for tasks, weighting, whole in (
        (2, aggregation.PCGradWeighting(), aggregation.PCGrad()),
        (5, aggregation.MGDAWeighting(), aggregation.MGDA()),
    ):
        rows = torch.randn(tasks, 50).double()
        rows[0] -= 2 * rows[1]  # a conflict
        d, _ = combined({str(t): row.tolist() for t, row in enumerate(rows)}, weighting)
        torch.testing.assert_close(d, whole(rows), rtol=1e-10, atol=1e-10)


def test_pcgrad_on_a_network_is_torchjd_on_the_stacked_rows():
    """Of the trunk of made rooms, whose two tasks are made to be in conflict."""
    aggregation = pytest.importorskip("torchjd.aggregation")
    net, tasks, batch = rooms("hps")
    tasks = {
        "segmentation": tasks["segmentation"],
        "depth": replace(tasks["depth"], loss=lambda y, truth: -3 * (y - truth).abs().mean()),
    }
    net.heads = nn.ModuleDict({task: net.heads[task] for task in tasks})
    found = gradients(net, tasks, batch, find_balancing("pcgrad")(net))
    predictions = net(batch["image"])
    losses = {t: tasks[t].loss(predictions[t], batch[t]) for t in tasks}
    rows = tssbn.gradients.task_gradients(losses, net.shared())
    assert rows[0] @ rows[1] != 0
    whole = aggregation.PCGrad()(rows)
    ours = torch.cat([found[k].flatten() for k in found if k.startswith("trunk.")])
    torch.testing.assert_close(ours, whole, rtol=1e-10, atol=1e-10)


def test_a_parameter_that_no_task_reaches_has_no_gradient_and_others_none_of_zeros():
    net = Plane("ab")
    net.far, net.near = (nn.Parameter(torch.ones(2).double()) for _ in range(2))
    net.shared = lambda: [net.w, net.far, net.near]
    balancing = Aggregated(net, lambda gramian: torch.tensor([2.0, 5.0]))
    balancing.backward(net, {"a": net.w.sum(), "b": (net.w + net.near).sum()}, FABRIC)
    balancing.finish(net, FABRIC)
    assert net.far.grad is None
    assert (net.w.grad.tolist(), net.near.grad.tolist()) == ([7.0, 7.0], [5.0, 5.0])


def remembering(name):
    """A weighting of torchjd that depends on the steps before."""
    aggregation = pytest.importorskip("torchjd.aggregation")
    return {
        "vaccine": aggregation.GradVacWeighting,
        "smoothed surgery": lambda: aggregation.CRMOGMWeighting(aggregation.PCGradWeighting()),
        "a function": lambda: draw,
    }[name]()


@pytest.mark.parametrize("name", ["vaccine", "smoothed surgery", "a function"])
def test_what_a_weighting_remembers_goes_on_from_a_checkpoint(name, tmp_path):
    def steps(balancing, net, numbers):
        found = []
        for number in numbers:
            random = torch.Generator().manual_seed(number)
            rows = torch.randn(3, 2, generator=random, dtype=torch.float64)
            net.w.grad = None
            losses = {task: row @ net.w for task, row in zip(net.tasks, rows, strict=True)}
            balancing.backward(net, losses, FABRIC)
            balancing.finish(net, FABRIC)
            found.append(net.w.grad.tolist())
        return found

    net = Plane("abc")
    balancing = Aggregated(net, remembering(name))
    steps(balancing, net, range(3))
    checkpoint.save(tmp_path, {"balancing": balancing.state_dict()})
    expected = steps(balancing, net, range(3, 6))
    other, fresh = (Aggregated(net, remembering(name)) for _ in range(2))
    other.load_state_dict(checkpoint.load(tmp_path)["balancing"])
    assert steps(other, net, range(3, 6)) == expected
    fresh.seed.copy_(balancing.seed - 3)  # the same random numbers, and no memory
    assert (steps(fresh, net, range(3, 6)) == expected) == (name == "a function")


def draw(gramian):
    return torch.rand(len(gramian))


def drawn(balancing):
    """The weights of the next step."""
    net = Plane("ab", 2)
    balancing.shared = net.shared()
    balancing.backward(net, {"a": net.w[0], "b": net.w[1]}, FABRIC)
    balancing.finish(net, FABRIC)
    return net.w.grad.tolist()


def test_random_weights_follow_from_the_seed_go_on_and_leave_others_alone():
    torch.manual_seed(3)
    one = Aggregated(Plane("ab"), draw)
    torch.manual_seed(3)
    other = Aggregated(Plane("ab"), draw)
    third = Aggregated(Plane("ab"), draw)
    state = torch.get_rng_state()
    first, second = drawn(one), drawn(one)
    assert torch.equal(torch.get_rng_state(), state)
    assert first == drawn(other) and first != second and first != drawn(third)
    third.load_state_dict(other.state_dict())  # as after an interruption
    torch.rand(5)
    assert drawn(third) == second


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_names_its_task(value):
    with pytest.raises(FloatingPointError, match="the gradient of 'b' is not finite in a step"):
        combined({"a": [1.0, 0.0], "b": [0.0, value]}, lambda gramian: gramian[0])


def test_a_run_whose_gradient_is_not_finite_says_of_which_epoch():
    pytest.importorskip("torchjd")
    run = balanced("pcgrad", "hps", batch=12)

    def tasks(targets):
        found = run.benchmark.tasks(targets)
        infinite = replace(found["depth"], loss=lambda y, truth: y.sum() * math.inf)
        return {**found, "depth": infinite}

    broken = tiny.changed(run, tasks=tasks)
    with pytest.raises(FloatingPointError, match="of 'depth' is not finite in a step of epoch 1"):
        train(broken, accelerator="cpu")


def test_tasks_that_share_nothing_are_refused():
    net, _, _ = rooms("stl")
    with pytest.raises(ValueError, match="tasks of SingleTask share no parameter"):
        Aggregated(net, torch.diagonal)
    with pytest.raises(ValueError, match="layer='' of SingleTask has no trained parameter that"):
        cosreg.balancing(net)


# -- a penalty on the tasks' gradients ------------------------------------------------------------


def small():
    """A network of a few numbers in float64, smooth, whose tasks' gradients meet at many angles."""
    torch.manual_seed(1)
    trunk = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3), nn.Tanh())
    heads = {task: nn.Linear(3, 1) for task in "abc"}
    return tssbn.MultiTask(trunk, heads).double(), torch.rand(5, 3, dtype=torch.float64)


def squares(net, x):
    return {task: (y - 1).square().mean() for task, y in net(x).items()}


@pytest.mark.parametrize("layer", ["", "trunk.2"])
def test_the_gradient_of_cosreg_is_that_of_finite_differences(layer):
    net, x = small()
    balancing = cosreg.balancing(net, alpha=0.7, layer=layer)
    balancing.backward(net, squares(net, x), FABRIC)
    balancing.finish(net, FABRIC)
    where = [p for n, p in net.named_parameters() if n.startswith(layer or "trunk.")]

    def value():
        losses = squares(net, x)
        return (sum(losses.values()) + 0.7 * orthogonality(losses, where)).item()

    step = 1e-5
    for name, p in net.named_parameters():
        flat, slopes = p.data.view(-1), []
        for i in range(len(flat)):
            here = flat[i].item()
            ends = []
            for end in (here + step, here - step):
                flat[i] = end
                ends.append(value())
            flat[i] = here
            slopes.append((ends[0] - ends[1]) / (2 * step))
        expected = torch.tensor(slopes, dtype=torch.float64).view_as(p)
        torch.testing.assert_close(p.grad, expected, rtol=1e-6, atol=1e-8, msg=name)
    plain = copy.deepcopy(net)
    plain.zero_grad()
    sum(squares(plain, x).values()).backward()
    assert (plain.trunk[0].weight.grad - net.trunk[0].weight.grad).abs().max() > 1e-3


@pytest.mark.parametrize("method", SHARING)
def test_cosreg_of_weight_zero_is_the_plain_sum_bit_for_bit(method):
    net, tasks, batch = rooms(method)
    plain = gradients(net, tasks, batch, Balancing())
    found = gradients(net, tasks, batch, cosreg.balancing(net, alpha=0.0))
    assert all(torch.equal(found[key], value) for key, value in plain.items())


def test_a_penalty_that_cannot_be_is_refused():
    net, _ = small()
    for alpha in -1.0, math.inf, math.nan:
        with pytest.raises(ValueError, match=rf"alpha={alpha} must be 0 or more, and finite"):
            cosreg.balancing(net, alpha)
    with pytest.raises(ValueError, match=r"layer='trunk.9' names no module of MultiTask"):
        cosreg.balancing(net, layer="trunk.9")
    with pytest.raises(ValueError, match=r"layer='heads.a' of MultiTask has no trained parameter"):
        cosreg.balancing(net, layer="heads.a")
    net.trunk.requires_grad_(False)
    with pytest.raises(ValueError, match="layer='' of MultiTask has no trained parameter"):
        cosreg.balancing(net)


# -- runs -----------------------------------------------------------------------------------------


def balanced(name, method="tssbn", options=None, **recipe):
    """A tiny run; the rate of its recipe is a large one for a large penalty."""
    options = options or ({"alpha": 0.1} if name == "cosreg" else {})
    settings = {"balance": name, **{f"balance.{key}": value for key, value in options.items()}}
    return tiny.run(method, settings=settings, **recipe)


@every_kind
def test_an_observed_run_is_bit_for_bit_the_run(name):
    run = balanced(name, tasks_per_pass=1)
    alone, seen = (train(run, accelerator="cpu", angles=every) for every in (0, 1))
    assert same(alone.net, seen.net)
    assert alone.record["epochs"][-1]["losses"] == seen.record["epochs"][-1]["losses"]
    entry = seen.record["angles"]
    assert entry["pairs"] == [["parts", "depth"]] and len(entry["all"]) == 9
    assert "angles" not in alone.record


def test_an_observer_sees_every_loss_once_and_then_the_step():
    seen = []

    class Look(Observer):
        def see(self, losses, fabric):
            seen.append(tuple(losses))

        def step(self):
            seen.append("step")

    net, tasks, batch = rooms("tssbn")
    net.tasks_per_pass = 1
    gradients(net, tasks, batch, Look())
    assert seen == [("segmentation",), ("depth",), ("normal",), "step"]
    seen.clear()
    gradients(net, tasks, batch, Look(uw.balancing(net)))
    assert seen == [tuple(tasks), "step"]


@pytest.mark.parametrize("method", ["hps", "tssbn"])
@every_kind
def test_half_precision_is_close(name, method):
    full = train(balanced(name, method, epochs=1), accelerator="cpu")
    half = train(balanced(name, method, epochs=1), accelerator="cpu", precision="bf16")
    assert not same(full.net, half.net)
    losses = [run.record["epochs"][-1]["losses"] for run in (full, half)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize("name", needing(BALANCINGS))
def test_a_balancing_has_an_effect(name):
    """That the tests of two equal runs could see."""
    plain, other = (
        train(balanced("sum"), accelerator="cpu"),
        train(balanced(name), accelerator="cpu"),
    )
    assert same(plain.net, other.net) == (name == "sum")
    assert other.record["balance"] == name and plain.record["balance"] == "sum"


def test_tasks_go_one_by_one_where_each_is_looked_at():
    pytest.importorskip("torchjd")
    whole, parts = (
        train(balanced("pcgrad", tasks_per_pass=k), accelerator="cpu") for k in (None, 2)
    )
    assert whole.net.tasks_per_pass == parts.net.tasks_per_pass == 1
    assert same(whole.net, parts.net)


def test_what_float16_and_compilation_would_spoil_is_refused(monkeypatch):
    rows = Aggregated(Plane("ab"), torch.diagonal)
    with pytest.raises(ValueError, match="precision='16' scales the losses until"):
        rows.check("16", False)
    penalty = SecondOrder(Plane("ab"), torch.sum)
    with pytest.raises(ValueError, match="precision='16' loses the small gradients"):
        penalty.check("16", False)
    with pytest.raises(ValueError, match=r"compile=True: torch.compile gives no gradients of"):
        train(balanced("cosreg"), accelerator="cpu", compile=True)
    with monkeypatch.context() as patch:  # as on a GPU: the CPU has no such precision
        patch.setattr(loop, "make_fabric", lambda *_: Fabric(accelerator="cpu", devices=1))
        with pytest.raises(ValueError, match="precision='16' loses the small gradients"):
            train(balanced("cosreg"), precision="16")
    for balancing in rows, penalty, Balancing(), Scalarised(torch.sum):
        balancing.check("bf16", False)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # read by torch 2.9's Dynamo
@pytest.mark.parametrize("method", ["hps", "tssbn"])
def test_a_balancing_of_rows_can_be_compiled(method, monkeypatch):
    pytest.importorskip("torchjd")
    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net, **_: torch_compile(net, backend="aot_eager"))
    run = balanced("pcgrad", method, epochs=1, batch=5, drop_last=True)  # 5 test images as well
    usual, other = (train(run, accelerator="cpu", compile=compile) for compile in (False, True))
    torch.testing.assert_close(usual.net.state_dict(), other.net.state_dict())


# -- settings, records and checkpoints ------------------------------------------------------------


def test_a_balancing_is_part_of_the_name_and_the_plain_sum_is_none():
    run = Run("rooms", "hps", 2, {"balance": "uw", "balance.lr": 0.5, "n": 16})
    assert run.name == "rooms/hps-2-balance=uw-balance.lr=0.5-n=16"
    assert (run.balance, run.balance_options, run.options) == ("uw", {"lr": 0.5}, {})
    assert Run("rooms", "hps", 2, {"balance": "uw", "balance.lr": 0.025}).name == (
        "rooms/hps-2-balance=uw"
    )
    plain = Run("rooms", "hps", 2, {"balance": "sum"})
    assert (plain.name, plain.balance, plain.settings) == ("rooms/hps-2", "sum", {})
    assert plain == Run("rooms", "hps", 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"balance": "ewe"}, "balance='ewe' is unknown, use one of sum, si, "),
        ({"balance": ["uw"]}, r"balance=\['uw'\] is unknown"),
        ({"balance.lr": 0.1}, "'balance.lr' is unknown.* balance, and weight"),
        ({"balance": "uw", "balance.alpha": 1}, "'balance.alpha' is .* balance.lr of balance=uw"),
        ({"balance": "uw", "balance.lr": "fast"}, "balance.lr='fast' must be of type float"),
        ({"balance": "cosreg", "balance.layer": 1}, "balance.layer=1 must be of type str"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Run("rooms", "hps", settings=settings)


def test_a_missing_package_takes_away_one_balancing(monkeypatch, capsys, tmp_path):
    monkeypatch.delitem(sys.modules, BALANCINGS["pcgrad"], raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchjd"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchjd", None)  # as if it were not installed
    assert find_balancing("uw") is uw.balancing
    said = r"balance='pcgrad' needs torchjd.*, which is not installed: pip install \"tssbn\[balance"
    with pytest.raises(ImportError, match=said):
        Run("rooms", "hps", settings={"balance": "pcgrad"})
    with pytest.raises(ImportError, match=said):
        train(balanced("pcgrad"), accelerator="cpu")
    assert main(["train", "rooms", "--method", "hps", "--set", "balance=pcgrad"]) == 1
    assert "needs torchjd" in capsys.readouterr().err
    file = tmp_path / "queue.toml"
    file.write_text(
        '[[runs]]\nbenchmark = "rooms"\nmethod = "hps"\nminutes = 1\nsettings.balance = "pcgrad"\n'
    )
    with pytest.raises(ValueError, match=rf"^{file}, run 1: {said}"):
        load_queue(file)


def test_a_file_of_ones_own(monkeypatch):
    monkeypatch.setitem(BALANCINGS, "logarithms", "logarithms")
    run = Run("rooms", "hps", settings={**SMALL, "balance": "logarithms", "balance.least": 0.5})
    assert run.balance_options == {"least": 0.5}
    assert train(run, accelerator="cpu").record["finished"]


def test_on_the_command_line(here):
    pytest.importorskip("tqdm")
    settings = [f"{key}={value}" for key, value in SMALL.items()]
    command = ["train", "rooms", "--method", "hps", "--quiet", "--set", "balance=uw", *settings]
    assert main(command) == 0
    (path,) = Path("data/results/rooms").glob("hps-0-*balance=uw*.json")
    record = json.loads(path.read_text())
    assert record["balance"] == "uw" and record["settings"]["balance"] == "uw"


class Stop(NoCallback):
    """Ends the run after its first epoch."""

    def epoch(self, entry):
        raise KeyboardInterrupt


def stopped(run, folder):
    with pytest.raises(KeyboardInterrupt):
        train(run, folder, accelerator="cpu", callback=Stop())


def test_a_checkpoint_is_of_one_balancing(tmp_path):
    stopped(balanced("uw"), tmp_path)
    with pytest.raises(ValueError, match="balance is 'uw' there and 'sum' here"):
        train(balanced("sum"), tmp_path, resume=True, accelerator="cpu")
    faster = balanced("uw", options={"lr": 0.5})
    with pytest.raises(ValueError, match=r"balance.lr is None there and 0.5 here"):
        train(faster, tmp_path, resume=True, accelerator="cpu")
    state = checkpoint.load(tmp_path)
    assert state["balancing"]["scalariser.log_variance"].abs().min() > 0
    checkpoint.save(tmp_path, {**state, "balancing": {}})
    with pytest.raises(ValueError, match="does not fit this version"):
        train(balanced("uw"), tmp_path, resume=True, accelerator="cpu")


@pytest.mark.parametrize("name", needing(STATEFUL))
def test_a_balancing_goes_on_from_a_checkpoint_bit_for_bit(name, tmp_path):
    """Its state is that of the end of the first of three epochs."""
    run = balanced(name, options={"warmup": 2} if name == "stch" else {}, batch=3)
    stopped(run, tmp_path)
    resumed, whole = (
        train(run, tmp_path / folder, resume=True, accelerator="cpu") for folder in (".", "whole")
    )
    assert same(resumed.net, whole.net)
    states = [checkpoint.load(tmp_path / folder)["balancing"] for folder in (".", "whole")]
    leaves = [torch.utils._pytree.tree_leaves(state) for state in states]
    for one, other in zip(*leaves, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    assert leaves[0] and resumed.record["finished"]


def test_a_step_is_told_of_and_so_is_the_end_of_an_epoch(monkeypatch):
    """What is told after a step are the losses of the same batch at the new parameters."""
    net, tasks, batch = rooms("tssbn")
    net.tasks_per_pass = 1
    told = []

    class Ask(Balancing):
        def after_step(self, losses, fabric):
            told.append(losses())

    gradients(net, tasks, batch, Observer(Ask()), {"depth": 0.5})
    with torch.no_grad():
        predictions = net.train()(batch["image"])
    assert list(told[0]) == list(tasks)
    for task, loss in told[0].items():  # `Look` of `gradients` moved nothing
        expected = tasks[task].loss(predictions[task], batch[task])
        torch.testing.assert_close(loss, expected / 2 if task == "depth" else expected)
        assert not loss.requires_grad
    means = []
    monkeypatch.setattr(Balancing, "end_epoch", lambda self, losses: means.append(losses))
    run = tiny.run("hps", settings={"weight.depth": 0.5})
    entries = train(run, accelerator="cpu", angles=1).record["epochs"]
    for seen, entry in zip(means, entries, strict=True):
        expected = {"parts": entry["losses"]["parts"], "depth": entry["losses"]["depth"] / 2}
        assert seen == pytest.approx(expected, abs=1e-5)  # a saved run is rounded
