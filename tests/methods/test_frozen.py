"""A trunk that is frozen but for its norm layers trains these and the heads, and nothing else."""

from functools import partial

import pytest
import timm
import torch
from torch import nn
from trunks import NETWORKS

import tssbn
from tssbn.methods import Network, find_method
from tssbn.methods.freeze import freeze

OUTPUTS = {"a": 2, "b": 1}
TRUNKS = {kind: NETWORKS[kind][0] for kind in ("segnet", "celeba", "classifier", "own")}
TRUNKS["vit"] = Network(
    partial(
        timm.create_model,
        "vit_small_patch16_224",
        num_classes=0,
        img_size=32,
        patch_size=8,
        depth=2,
        embed_dim=24,
        num_heads=3,
    ),
    partial(nn.Linear, 24),
    torch.rand(4, 3, 32, 32),
)
METHODS = ("hps", "stl", "tsbn", "tssbn")
every_case = pytest.mark.parametrize(
    ("method", "kind"), [(method, kind) for method in METHODS for kind in TRUNKS]
)


def norms(net):
    """Names of the parameters of its norm layers."""
    return {
        f"{path}.{name}".lstrip(".")
        for path, module in net.named_modules()
        if tssbn.is_norm(module)
        for name, _ in module.named_parameters(recurse=False)
    }


def frozen(make):
    trunk = make()
    freeze(trunk, norms(trunk).__contains__)
    return trunk


def built(method, kind, make=frozen):
    torch.manual_seed(0)
    given = TRUNKS[kind]
    network = Network(lambda: make(given.trunk), given.head, given.example)
    return find_method(method).build(network, OUTPUTS)


def step(net, groups, x):
    """Of AdamW, whose weight decay changes whatever has a gradient."""
    optimiser = torch.optim.AdamW(groups, weight_decay=0.1)
    for _ in range(2):
        sum((y - 1).square().mean() for y in net(x).values()).backward()
        optimiser.step()
        optimiser.zero_grad()


@every_case
def test_norm_layers_and_heads_alone_are_trained(method, kind):
    net = built(method, kind)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    step(net, find_method(method).groups(net, lr=1e-2), TRUNKS[kind].example)
    changed = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    of_heads = ("heads.", *(f"networks.{task}.1." for task in OUTPUTS))
    heads = {name for name in before if name.startswith(of_heads)}
    learned = {name for name in norms(net) if net.get_parameter(name).requires_grad}
    assert learned and heads and changed == learned | heads


@pytest.mark.parametrize("kind", TRUNKS)
def test_gates_of_a_frozen_trunk_start_as_those_of_any_other(kind):
    one, other = built("tssbn", kind), built("tssbn", kind, make=lambda trunk: trunk())
    x = TRUNKS[kind].example
    assert all(torch.equal(y, other(x)[task]) for task, y in one(x).items())
    gates = [name for name, p in one.named_parameters() if name.endswith("gamma")]
    assert gates and all(one.get_parameter(name).requires_grad for name in gates)


@pytest.mark.parametrize("kind", TRUNKS)
def test_one_loss_reaches_the_rows_of_its_own_task(kind):
    net = built("tssbn", kind)
    net(TRUNKS[kind].example)["b"].square().sum().backward()
    for name, p in net.named_parameters():
        if name.endswith(".gamma"):
            assert p.grad[0].count_nonzero() == 0
        elif name.startswith("trunk.") and name not in norms(net):
            assert p.grad is None
    assert any(p.grad[1].any() for n, p in net.named_parameters() if n.endswith(".gamma"))


def test_nothing_is_trained_without_a_rule():
    trunk = TRUNKS["celeba"].trunk()
    freeze(trunk, Network(nn.Identity, nn.Identity, torch.zeros(2)).trains)
    network = Network(lambda: trunk, partial(nn.Linear, 32), torch.zeros(2))
    net = find_method("hps").build(network, OUTPUTS)
    assert {n for n, p in net.named_parameters() if p.requires_grad} == {
        f"heads.{task}.{name}" for task in OUTPUTS for name in ("weight", "bias")
    }
