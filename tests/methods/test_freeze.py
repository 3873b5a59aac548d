"""A frozen trunk: what a method trains in it, and what counts."""

from dataclasses import replace

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import tiny

from tssbn import MultiTask
from tssbn.methods import Method, heads, nothing
from tssbn.methods.freeze import freeze
from tssbn.training.loop import train
from tssbn.training.run import Run


def build(network, outputs):
    trunk = network.trunk()
    freeze(trunk, network.trains)
    return MultiTask(trunk, heads(network, outputs))


@pytest.mark.parametrize("trains", [nothing, lambda name: name.startswith("1.")])
def test_only_what_the_family_names_is_trained(trains):
    benchmark = tiny.run().benchmark
    network = replace(benchmark.network, trains=trains)
    run = Run(replace(benchmark, network=network), Method("Frozen", build))
    torch.manual_seed(0)
    before = build(network, {"parts": 3, "depth": 1}).trunk.state_dict()
    net, record = train(run, accelerator="cpu")
    for name, parameter in net.trunk.named_parameters():
        assert parameter.requires_grad == trains(name)
        assert torch.equal(parameter, before[name]) != trains(name)
    own = [p for p in net.trunk.parameters() if p.requires_grad]
    counted = [*own, *net.heads.parameters()]
    assert record["parameters"] == sum(p.numel() for p in counted)


def test_a_rule_thaws_what_was_frozen():
    trunk = nn.Linear(2, 2)
    freeze(trunk, nothing)
    assert not any(p.requires_grad for p in trunk.parameters())
    freeze(trunk, lambda name: True)
    assert all(p.requires_grad for p in trunk.parameters())
