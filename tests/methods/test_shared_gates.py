"""HPS of another width, and HPS with one row of gates."""

import pytest
import torch
from asserts import assert_same_network, assert_same_outputs
from torch import nn
from trunks import NETWORKS

from tssbn import open_zero_initialised
from tssbn.benchmarks import BENCHMARKS, find_benchmark
from tssbn.cost import macs, parameters
from tssbn.methods import Network, find_method
from tssbn.networks.celeba import CelebANet
from tssbn.networks.segnet import SegNet
from tssbn.networks.unet import UNet
from tssbn.norm import SigmoidNorm, TaskSigmoidNorm
from tssbn.recognise import is_norm

OUTPUTS = {"a": 2, "b": 1, "c": 3}
every_trunk = pytest.mark.parametrize("kind", NETWORKS)


def built(method, kind, **options):
    torch.manual_seed(0)
    network = NETWORKS[kind][0]
    net = find_method(method).build(network, OUTPUTS, **options).double()
    return net, network.example.double()


# -- HPS, wider -----------------------------------------------------------------------------------


def at_full_size(method, benchmark, tasks, **options):
    """Parameters, and multiplications for an image."""
    network = find_benchmark(benchmark)(filters=64).network
    with torch.device("meta"):
        net = find_method(method).build(
            network, dict.fromkeys(map(str, range(tasks)), 1), **options
        )
        return parameters(net), macs(net, network.example.to("meta"))


@pytest.mark.parametrize(
    ("name", "trunk"), [("rooms_segnet", SegNet), ("rooms", UNet), ("faces", CelebANet)]
)
def test_a_wider_network_has_the_trunk_of_that_width(name, trunk):
    network = find_benchmark(name)(filters=4).network
    torch.manual_seed(0)
    net = find_method("hps-wide").build(network, OUTPUTS)
    torch.manual_seed(0)
    assert_same_network(net.trunk, trunk(6))
    assert {task: y.shape[1] for task, y in net(network.example).items()} == OUTPUTS
    torch.manual_seed(0)
    same = find_method("hps-wide").build(network, OUTPUTS, times=1.0)
    torch.manual_seed(0)
    assert_same_network(same, find_method("hps").build(network, OUTPUTS))


def test_a_wider_network_of_layers():
    """Of the first layer the inputs stay, of all others they grow, too."""
    net = find_method("hps-wide").build(find_benchmark("census")(width=8).network, OUTPUTS)
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim == 2]
    assert shapes[1:] == [(6, 12), (3, 6), (2, 3), (1, 3), (3, 3)] and shapes[0][0] == 12


@pytest.mark.parametrize("name", ["rooms_segnet", "rooms", "faces"])
def test_the_cost_grows_with_the_square_of_the_width(name):
    plain, wide = at_full_size("hps", name, 3), at_full_size("hps-wide", name, 3)
    for one, other in zip(plain, wide, strict=True):
        assert other / one == pytest.approx(1.5**2, rel=0.01)
    root = at_full_size("hps-wide", name, 3, times=3**0.5)
    assert root[0] == pytest.approx(at_full_size("stl", name, 3)[0], rel=0.02)


def test_a_network_that_has_no_wider_form():
    with pytest.raises(ValueError, match="this benchmark has no wider network: give its Network"):
        built("hps-wide", "segnet")
    with pytest.raises(ValueError, match="times=0 must be positive"):
        built("hps-wide", "segnet", times=0)


# -- one row of gates for all ---------------------------------------------------------------------


@every_trunk
@pytest.mark.parametrize("training", [True, False])
def test_shared_gates_are_hps_with_sigma_for_weights(kind, training):
    net, x = built("shared-gates", kind)
    plain, _ = built("hps", kind)
    layers = [layer for layer in net.trunk.modules() if isinstance(layer, SigmoidNorm)]
    norms = [layer for layer in plain.trunk.modules() if is_norm(layer)]
    assert norms
    for layer, norm in zip(layers, norms, strict=True):
        layer.gamma.data.normal_()
        norm.weight.data.copy_(layer.gamma.data.sigmoid())
    assert_same_outputs(net.train(training)(x), plain.train(training)(x))
    assert parameters(net) == parameters(plain) - sum(norm.bias.numel() for norm in norms)
    assert macs(net, x) == macs(plain, x)
    assert list(net.passes()) == [tuple(OUTPUTS)]


def test_its_gradient_is_the_sum_of_those_of_own_gates():
    """Of what TSσBN has, nothing is lost but that rows can differ."""
    (one, x), (own, _) = built("shared-gates", "celeba"), built("tssbn", "celeba")
    assert_same_outputs(one(x), own(x))
    for net in one, own:
        sum(y.square().mean() for y in net(x).values()).backward()
    mine = [layer for layer in one.modules() if isinstance(layer, SigmoidNorm)]
    theirs = [layer for layer in own.modules() if isinstance(layer, TaskSigmoidNorm)]
    for layer, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(layer.gamma.grad, other.gamma.grad.sum(0), rtol=1e-9, atol=1e-12)


def test_shared_gates_learn_at_the_rate_of_gates():
    net, _ = built("shared-gates", "segnet")
    shared, gates = find_method("shared-gates").groups(net, 0.25, multiplier=10.0)
    assert (shared["lr"], gates["lr"], gates["weight_decay"]) == (0.25, 2.5, 0)
    layers = [layer for layer in net.modules() if isinstance(layer, SigmoidNorm)]
    assert list(map(id, gates["params"])) == [id(layer.gamma) for layer in layers]


# -- norm layers that start with zeros ------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_no_benchmark_starts_a_norm_layer_with_zeros(name):
    """Or methods would start apart: a gate opens what such a layer closes."""
    pretrained = (
        name in ("adapt", "nyuv2_lite", "pascal4", "pascal5", "treebank") or "libmtl" in name
    )
    options = {"pretrained": "none"} if pretrained else {}
    trunk = find_benchmark(name)(**options).network.trunk()
    assert all(norm.weight.all() for norm in trunk.modules() if is_norm(norm))


@pytest.mark.parametrize("opened", [False, True])
def test_what_methods_make_of_a_layer_that_starts_with_zeros(opened):
    """Those with gates open it, those without do not; opened before, it is open in all."""

    def trunk():
        layer = nn.BatchNorm2d(3)
        nn.init.zeros_(layer.weight)
        if opened:
            open_zero_initialised(layer)
        return nn.Sequential(layer)

    gated = {"tssbn", "tssbn-bias", "tsbn-no-bias", "shared-gates", "random-gates", "clamp"}
    others = {"hps", "stl", "tsbn", "tsbn-x100", "statistics", "affine"}
    x = NETWORKS["sequential"][0].example
    for name in sorted(gated | others):
        net = find_method(name).build(Network(trunk, nn.Identity, x), {"a": 1})
        assert bool(net(x)["a"].any()) == (opened or name in gated), name
