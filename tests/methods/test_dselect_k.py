"""DSelect-k is MMoE whose gates choose experts by bits."""

import copy
import pickle

import pytest
import torch
from asserts import assert_same_outputs
from torch import nn
from trunks import NETWORKS

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")

import tiny

from tssbn.methods import dselect_k
from tssbn.methods.dselect_k import Selector, smooth_step
from tssbn.training.loop import train

OUTPUTS = {"a": 2, "b": 1}


def selector(experts, slots=1, gate="static", smooth=1.0):
    torch.manual_seed(0)
    return Selector(gate, (3,), experts, slots, smooth).double()


def built(**options):
    torch.manual_seed(0)
    return dselect_k.build(NETWORKS["celeba"][0], OUTPUTS, **options).double()


def images():
    return NETWORKS["celeba"][0].example.double()


def saturate(net, *bits):
    for gate in net.gates.values():
        for parameter in gate.bits.parameters():
            nn.init.zeros_(parameter)
        gate.bits.bias.data = torch.tensor(bits).double()


@pytest.mark.parametrize("width", [1.0, 0.25])
def test_values_and_slopes_of_the_step(width):
    u = width * torch.tensor([-0.6, -0.5, -0.25, 0, 0.25, 0.5, 0.6]).double()
    u.requires_grad_()
    step = smooth_step(u, width)
    (slope,) = torch.autograd.grad(step.sum(), u)
    assert step.tolist() == pytest.approx([0, 0, 0.15625, 0.5, 0.84375, 1, 1], abs=1e-15)
    expected = [0, 0, 1.125 / width, 1.5 / width, 1.125 / width, 0, 0]
    assert slope.tolist() == pytest.approx(expected, abs=1e-12)
    assert slope[0] == slope[-1] == 0


def test_codes_are_the_binary_numbers():
    assert selector(5).codes.int().tolist() == [
        [0, 0, 0],
        [0, 0, 1],
        [0, 1, 0],
        [0, 1, 1],
        [1, 0, 0],
    ]
    assert [selector(n).codes.shape[1] for n in (2, 3, 4, 8, 9)] == [1, 2, 2, 3, 4]


@pytest.mark.parametrize("place", range(5))
def test_saturated_bits_read_the_expert_of_their_code(place):
    gate = selector(5)
    gate.bits.bias.data = 2.0 * gate.codes[place].double() - 1
    weights = gate(torch.rand(2, 3).double())
    assert weights.tolist() == [[float(k == place) for k in range(5)]] * 2
    weights.square().sum().backward()
    assert (gate.bits.bias.grad == 0).all()


@pytest.mark.parametrize("experts", [2, 3, 4, 5, 8])
def test_weights_sum_to_one_if_every_code_has_an_expert(experts):
    gate = selector(experts, slots=2, gate="pooled")
    for parameter in gate.parameters():
        nn.init.normal_(parameter, std=0.3)
    weights = gate(torch.rand(50, 3).double())
    assert (weights >= 0).all()
    if experts in (2, 4, 8):
        torch.testing.assert_close(weights.sum(1), torch.ones(50).double())
    else:
        assert (weights.sum(1) < 1 + 1e-12).all() and (weights.sum(1) < 0.99).any()


def test_slots_by_hand():
    """Two slots read experts 1 and 2 of four; their shares are 1/4 and 3/4."""
    gate = selector(4, slots=2)
    gate.bits.bias.data = torch.tensor([-1.0, 1.0, 1.0, -1.0]).double()
    gate.shares.bias.data = torch.tensor([1.0, 3.0]).double().log()
    torch.testing.assert_close(
        gate(torch.rand(1, 3).double()), torch.tensor([[0, 0.25, 0.75, 0]]).double()
    )


@pytest.mark.parametrize("gate", ["pooled", "image", "static"])
def test_one_expert_that_all_bits_choose_is_hard_sharing(gate):
    net = built(gate=gate)
    saturate(net, 1.0, 1.0)
    trunk = copy.deepcopy(net.experts[1])
    expected = {task: head(trunk(images())) for task, head in net.heads.items()}
    assert_same_outputs(net(images()), expected, rtol=0, atol=1e-12)


def test_a_gate_that_reads_nothing_begins_half_way_and_learns():
    net = built(gate="static", experts=4)
    net(images())["a"].square().sum().backward()
    gate = net.gates["a"]
    assert gate.slots_read.sub(0.25).abs().max() < 0.02
    assert (gate.bits.bias.grad != 0).all() and (gate.shares.bias.grad != 0).all()
    assert net.gates["b"].bits.bias.grad is None


def test_the_penalty_by_hand():
    net = built(entropy=0.5, gate="static", slots=1)
    net.gates["a"].bits.bias.data.fill_(0)  # half and half: the entropy is log 2
    net.gates["b"].bits.bias.data.fill_(1)  # one expert alone
    net(images())
    assert net.penalty().item() == pytest.approx(0.5 * torch.tensor(2.0).log().item(), abs=1e-5)
    three = built(entropy=0, gate="static", slots=1, experts=3)
    for gate in three.gates.values():
        gate.bits.bias.data.fill_(0)  # a quarter for each of four codes, one of which is nobody's
    three(images())
    assert three.penalty().item() == pytest.approx(2 * 4 / 3)


def test_the_penalty_is_finite_where_bits_are_saturated():
    net = built(experts=3, entropy=1.0)
    saturate(net, 1.0, 1.0, 1.0, 1.0)  # the code that nobody has
    net(images())
    net.penalty().backward()
    assert net.penalty().isfinite()
    assert all(p.grad.isfinite().all() for p in net.gates.parameters() if p.grad is not None)


def test_the_penalty_reaches_the_gates_in_training():
    options = {"gate": "static", "entropy": 0.0}
    runs = [
        train(tiny.run("dselect-k", epochs=1, settings={**options, "entropy": value}))
        for value in (0.0, 5.0)
    ]
    plain, drawn = (run.net.state_dict() for run in runs)
    assert runs[0].record["epochs"][0]["penalty"] == 0 < runs[1].record["epochs"][0]["penalty"]
    name = "gates.depth.bits.bias"
    assert (drawn[name].abs() > plain[name].abs()).all()  # the entropy draws bits away from 1/2


def test_it_can_be_copied_between_forward_and_backward():
    net = built()
    net(images())
    for twin in copy.deepcopy(net), pickle.loads(pickle.dumps(net)):
        assert_same_outputs(twin(images()), net(images()), rtol=0, atol=0)


def test_what_cannot_be_built():
    network = NETWORKS["celeba"][0]
    for options in {"experts": 1}, {"slots": 0}, {"smooth": 0.0}, {"entropy": -1.0}:
        (name, value), *_ = options.items()
        with pytest.raises(ValueError, match=f"{name}={value} must be"):
            dselect_k.build(network, OUTPUTS, **options)
