"""A run of a trunk that pauses after each stage is the trunk's own forward pass."""

import copy
from functools import partial

import pytest
import torch
from shallow import segnet
from torch import nn
from trunks import NETWORKS, Skip

from tssbn.networks.celeba import CelebANet
from tssbn.networks.segnet import SegNet
from tssbn.networks.stages import find_stages, is_resnet, last, stages

every_trunk = pytest.mark.parametrize("kind", NETWORKS)


def trunk(kind):
    torch.manual_seed(1)
    return NETWORKS[kind][0].trunk().double()


def images(kind):
    return NETWORKS[kind][0].example.double()


# -- runs ------------------------------------------------------------------------------------------


@every_trunk
@pytest.mark.parametrize("training", [True, False])
def test_a_run_without_a_word_is_the_forward_pass(kind, training):
    one, x = trunk(kind).train(training), images(kind)
    other = copy.deepcopy(one)
    assert torch.equal(last(stages(one, x)), other(x))
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


@every_trunk
def test_what_is_sent_is_what_the_next_stage_reads(kind):
    """Sending back what was given changes nothing; sending another's run makes it that one."""
    net, x = trunk(kind).eval(), images(kind)
    run = stages(net, x)
    features = next(run)
    for _ in range(NETWORKS[kind][1] - 1):
        features = run.send(features)
    assert torch.equal(features, net(x))
    with pytest.raises(StopIteration):
        next(run)

    run, other = stages(net, x), stages(net, x.flip(0))
    for _ in range(NETWORKS[kind][1] - 1):
        next(run)
        sent = next(other)
    swapped = run.send(sent)
    if kind in ("segnet", "unet", "own"):  # where values go, and what goes past, is this run's own
        assert not torch.equal(swapped, net(x.flip(0)))
    else:
        assert torch.equal(swapped, net(x.flip(0)))


@every_trunk
def test_runs_of_one_trunk_know_nothing_of_each_other(kind):
    net, x = trunk(kind).eval(), images(kind)
    *_, (one, other) = zip(stages(net, x), stages(net, x.flip(0)), strict=True)
    assert torch.equal(one, net(x)) and torch.equal(other, net(x.flip(0)))


def test_the_stages_of_a_sequential_are_its_children():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Tanh())
    x = torch.rand(3, 2, 2)
    expected = [x.flatten(1), net[1](x.flatten(1)), net(x)]
    for features, by_hand in zip(stages(net, x), expected, strict=True):
        assert torch.equal(features, by_hand)


@pytest.mark.parametrize(
    "make", [partial(segnet, 2, stages=2), partial(CelebANet, 2)], ids=["segnet", "celeba"]
)
def test_trunks_of_the_package_are_compiled_and_exported_whole(make):
    net, x = make().eval(), torch.rand(2, 3, 16, 16)
    assert torch.equal(torch.compile(net, backend="eager", fullgraph=True)(x), net(x))
    assert torch.equal(torch.export.export(net, (x,), strict=True).module()(x), net(x))
    torch._dynamo.reset()


# -- what is known of them -------------------------------------------------------------------------


@every_trunk
def test_shapes_are_those_of_a_run(kind):
    net, x = trunk(kind), images(kind)
    found = find_stages(net, x)
    assert len(found) == NETWORKS[kind][1]
    assert [stage.shape for stage in found] == [y.shape[1:] for y in stages(net, x)]


@every_trunk
def test_each_parameter_is_of_the_first_stage_that_it_changes(kind):
    net, x = trunk(kind).eval(), images(kind)
    found, before = find_stages(net, x), [y.clone() for y in stages(net, x)]
    names = [name for stage in found for name in stage.parameters]
    assert sorted(names) == sorted(name for name, _ in net.named_parameters())
    for place, stage in enumerate(found):
        twin = copy.deepcopy(net)
        with torch.no_grad():
            for name in stage.parameters:
                twin.get_parameter(name).add_(0.5)
        changed = [not torch.equal(y, z) for y, z in zip(stages(twin, x), before, strict=True)]
        assert changed[:place] == [False] * place
        assert changed[place] == bool(stage.parameters)


def test_stages_of_segnet_and_resnet_by_name():
    def parts(net, x, depth):
        found = find_stages(net, x)
        return [{".".join(n.split(".")[:depth]) for n in stage.parameters} for stage in found]

    downs = [{f"encoder.{i}"} for i in range(5)]
    ups = [{f"decoder.{i}"} for i in (4, 3, 2, 1, 0)]
    assert parts(SegNet(4), torch.rand(2, 3, 32, 32), 2) == downs + ups
    layers = [{"conv1", "bn1"}, {"layer1"}, {"layer2"}, {"layer3"}]
    assert parts(trunk("dilated"), images("dilated"), 1) == [*layers, {"layer4"}]
    assert parts(trunk("classifier"), images("classifier"), 1) == [*layers, {"layer4", "fc"}]


@every_trunk
def test_looking_leaves_everything_as_it_is(kind):
    net, x = trunk(kind), images(kind)
    next(net.parameters()).requires_grad_(False)
    state, before = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    found = find_stages(net, x)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert net.training and all(p.grad is None for p in net.parameters())
    assert [p.requires_grad for p in net.parameters()].count(False) == 1
    with torch.no_grad():
        assert find_stages(net, x) == found
    with torch.device("meta"):  # a trunk without values
        assert find_stages(NETWORKS[kind][0].trunk(), NETWORKS[kind][0].example) == found


# -- what is refused -------------------------------------------------------------------------------


class Backwards(nn.Sequential):
    def forward(self, x):
        for part in reversed(self):
            x = part(x)
        return x


def torchvision_resnet():
    return pytest.importorskip("torchvision").models.resnet18(num_classes=2)  # has layer1 to layer4


def taps():
    return pytest.importorskip("timm").create_model("resnet10t", features_only=True)


@pytest.mark.parametrize("make", [nn.Identity, Backwards, torchvision_resnet, taps])
def test_what_has_no_known_stages(make):
    net = make()
    with pytest.raises(TypeError, match=rf"type {type(net).__name__} .*forward_stages\(self, x\)"):
        stages(net, torch.zeros(1))


class Pair(nn.Module):
    def forward(self, x):
        return [x, x]


@pytest.mark.parametrize("after", [nn.ReLU, Pair])
def test_only_the_last_stage_may_give_more_than_a_tensor(after):
    net = nn.Sequential(nn.ReLU(), Pair(), after())
    with pytest.raises(TypeError, match="stage 1 of Sequential gives a list, expected one tensor"):
        find_stages(net, torch.zeros(2, 3))
    found = find_stages(nn.Sequential(nn.Linear(3, 4), Pair()), torch.zeros(2, 3))
    assert [stage.shape for stage in found] == [(4,), [(4,), (4,)]]
    assert [sorted(stage.parameters) for stage in found] == [["0.bias", "0.weight"], []]


def test_a_resnet_is_one_of_timm():
    assert is_resnet(trunk("dilated")) and is_resnet(trunk("classifier"))
    assert not is_resnet(torchvision_resnet()) and not is_resnet(taps()) and not is_resnet(Skip())
