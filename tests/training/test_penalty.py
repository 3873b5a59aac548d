"""A penalty of the network's own, beside the losses and whatever balances them."""

import pytest
import torch
from torch import nn

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")

import tiny
from balancings import needing
from lightning_fabric import Fabric

import tssbn
from tssbn.benchmarks.tasks import tasks_for
from tssbn.training.balancing import Penalised, find_balancing
from tssbn.training.epoch import train_epoch

TASKS = tasks_for(tiny.TARGETS)
OPTIONS = {"cosreg": {"alpha": 0.1}}


def balancing_of(name, net):
    return find_balancing(name)(net, **OPTIONS.get(name, {}))


class Decayed(tssbn.MultiTask):
    """Half the squared norm of its filters is a penalty; counts how often that is asked for."""

    asked = 0

    def penalty(self):
        self.asked += 1
        return sum(p.square().sum() for p in self.trunk.parameters() if p.ndim == 4) / 2


class Active(tssbn.MultiTask):
    """The mean square of its last predictions is a penalty: it needs the graph of the pass."""

    def forward(self, x, tasks=None):
        self.seen = super().forward(x, tasks)
        return self.seen

    def penalty(self):
        return sum(y.square().mean() for y in self.seen.values())


def build(kind, per_pass=None):
    """A network of two tasks that each pass the trunk, in float64."""
    torch.manual_seed(0)
    trunk = tssbn.task_specific(tiny.trunk(nn.BatchNorm2d), list(TASKS))
    heads = {name: nn.Conv2d(4, task.out_channels, 1) for name, task in TASKS.items()}
    net = kind(trunk, heads).double()
    net.tasks_per_pass = per_pass
    return net


def batch_of(dtype):
    return {
        k: v.to(dtype) if v.is_floating_point() else v for k, v in tiny.data("train")[:4].items()
    }


def gradients(net, seam, clip=None):
    """What SGD at rate 1 takes off each parameter, and the losses of the step."""
    fabric = Fabric(accelerator="cpu", devices=1)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    own = [p for group in seam.groups(1.0) for p in group["params"]]
    model, optimiser = fabric.setup(net, torch.optim.SGD([*net.parameters(), *own], lr=1.0))
    (losses,) = train_epoch(
        fabric, model, optimiser, TASKS, [batch_of(torch.float64)], balancing=seam, clip=clip
    )
    return {name: before[name] - p.detach() for name, p in net.named_parameters()}, losses


NAMES = ("sum", "uw", "famo", "cosreg", "pcgrad")
every_balancing = pytest.mark.parametrize("name", needing(NAMES))


@every_balancing
def test_its_gradient_is_added_to_the_balanced_one(name):
    """The gradient of half a squared norm is the filter itself."""
    plain, other = (build(Decayed), build(Decayed))
    balanced, losses = gradients(plain, balancing_of(name, plain))
    filters = {n: p.detach().clone() for n, p in other.trunk.named_parameters() if p.ndim == 4}
    seam = Penalised(other, balancing_of(name, other))
    found, penalised = gradients(other, seam)
    for key, value in found.items():
        added = filters.get(key.removeprefix("trunk."), torch.zeros(()).double())
        torch.testing.assert_close(value, balanced[key] + added, rtol=1e-10, atol=1e-12)
    assert losses == penalised  # of the tasks
    torch.testing.assert_close(seam.value, sum(f.square().sum() for f in filters.values()) / 2)
    assert len(filters) == 2 and not seam.value.requires_grad


@pytest.mark.parametrize("per_pass", [None, 1])
@every_balancing
def test_it_is_asked_once_a_step(name, per_pass):
    net = build(Decayed, per_pass)
    seam = Penalised(net, balancing_of(name, net))
    for _ in range(3):
        gradients(net, seam)
    assert net.asked == 3


@pytest.mark.parametrize("per_pass", [None, 1])
@every_balancing
def test_it_may_read_what_the_last_pass_left(name, per_pass):
    one_by_one = name == "pcgrad" or (name == "sum" and per_pass == 1)
    nets = [build(Active, 1 if one_by_one else per_pass) for _ in range(3)]
    plain, _ = gradients(nets[0], balancing_of(name, nets[0]))
    found, _ = gradients(nets[1], Penalised(nets[1], balancing_of(name, nets[1])))
    predictions = nets[2].train()(batch_of(torch.float64)["image"])
    last = ["depth"] if one_by_one else list(TASKS)
    sum(predictions[task].square().mean() for task in last).backward()
    for key, p in nets[2].named_parameters():
        added = torch.zeros_like(p) if p.grad is None else p.grad
        torch.testing.assert_close(found[key], plain[key] + added, rtol=1e-9, atol=1e-11)


def test_a_penalty_of_frozen_parameters_adds_nothing():
    net, other = build(Decayed), build(Decayed)
    for each in net, other:
        for p in each.trunk.parameters():
            p.requires_grad_(p.ndim < 4)
    seam = Penalised(other)
    plain, _ = gradients(net, balancing_of("sum", net))
    found, _ = gradients(other, seam)
    assert all(torch.equal(found[key], value) for key, value in plain.items())
    assert seam.value > 0


def test_a_penalty_that_is_no_scalar_is_refused():
    net = build(Decayed)
    net.penalty = lambda: net.trunk[0].weight.square()
    with pytest.raises(ValueError, match=r"penalty\(\) must be a scalar, got shape \(4, 3, 3, 3\)"):
        gradients(net, Penalised(net))


@every_balancing
def test_the_whole_gradient_is_clipped_and_a_shorter_one_left_alone(name):
    """The network's and the penalty's together; of what the balancing trains, too."""
    net = build(Decayed)
    whole, _ = gradients(net, Penalised(net, balancing_of(name, net)))
    length = torch.cat([g.flatten() for g in whole.values()]).norm()
    for clip, factor in (0.25 * length, None), (4 * length, 1.0):
        other = build(Decayed)
        found, _ = gradients(other, Penalised(other, balancing_of(name, other)), float(clip))
        ratio = torch.cat([g.flatten() for g in found.values()]).norm() / length
        if factor is None and name == "uw":  # whose own parameters take a part of the length
            assert 0.2 < ratio < 0.25
        else:
            assert ratio == pytest.approx(0.25 if factor is None else 1.0, rel=1e-5)
        for key, value in found.items():
            torch.testing.assert_close(value, ratio * whole[key], rtol=1e-5, atol=1e-9)
