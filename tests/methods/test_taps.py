"""A trunk may give several feature maps, of which a head gets all."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytest.importorskip("timm")
pytest.importorskip("torchvision")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import timm
import tiny
from lightning_fabric import Fabric

import tssbn
from tssbn import export
from tssbn.benchmarks.tasks import tasks_for
from tssbn.cost import macs, parameters
from tssbn.data.target import Target
from tssbn.methods import Network, find_method
from tssbn.training.epoch import train_epoch
from tssbn.training.loop import train

TARGETS = {"parts": Target("classes", ("a", "b", "c")), "depth": Target("depth", ignore=0)}
TASKS = tasks_for(TARGETS)
OUTPUTS = {name: task.out_channels for name, task in TASKS.items()}
SIDE = 32
METHODS = ("hps", "stl", "tsbn", "tssbn")
every_method = pytest.mark.parametrize("method", METHODS)


def resnet(kind="list"):
    return timm.create_model(
        "resnet18",
        features_only=True,
        out_indices=(1, 2, 4),
        feature_cls=kind,
        layers=(1, 1, 1, 1),
        channels=(4, 8, 8, 12),
    )


def vit():
    return timm.create_model(
        "vit_small_patch16_224",
        features_only=True,
        out_indices=(0, 2),
        img_size=SIDE,
        patch_size=8,
        depth=3,
        embed_dim=24,
        num_heads=3,
    )


class Pair(nn.Module):
    """A fine map and a coarse one, as a tuple."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x):
        fine = self.fine(x)
        return fine, self.coarse(fine)


class Head(nn.Module):
    """Brings every map to the size of the image, and adds them."""

    def __init__(self, widths, outputs, size=(SIDE, SIDE)):
        super().__init__()
        self.size = size
        self.joins = nn.ModuleList(nn.Conv2d(width, 8, 1) for width in widths)
        self.last = nn.Conv2d(8, outputs, 1)

    def forward(self, taps):
        maps = list(taps.values()) if isinstance(taps, dict) else taps
        joined = zip(self.joins, maps, strict=True)
        return self.last(sum(F.interpolate(join(x), self.size) for join, x in joined).relu())


# Trunk, the type of what it gives, channels of its maps, parts to compute again.
TRUNKS = {
    "resnet": (resnet, list, (4, 8, 12), ["layer2.0", "layer4"]),
    "dict": (lambda: resnet("dict"), dict, (4, 8, 12), ["layer3"]),
    "vit": (vit, list, (24, 24), ["model.blocks.1", "model.blocks.2"]),
    "pair": (Pair, tuple, (4, 8), ["coarse"]),
}
every_trunk = pytest.mark.parametrize("kind", TRUNKS)
gated = pytest.mark.parametrize("method", ["tssbn", "tsbn"])


def images(n=4):
    return torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).double()


def network(kind):
    make, _, widths, _ = TRUNKS[kind]
    return Network(lambda: make().double(), lambda n: Head(widths, n).double(), images(2))


def built(method, kind):
    torch.manual_seed(0)
    return find_method(method).build(network(kind), OUTPUTS)


def stirred(net):
    """Nothing that differs between tasks is as it began."""
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.rsplit(".")[-1] in ("gamma", "beta"):
                value.normal_()
    return net


def gradients(net, x):
    net.zero_grad()
    given = {}
    for group in net.passes():
        part = net(x, group)
        sum(y.square().mean() for y in part.values()).backward()
        given |= part
    return given, {name: p.grad for name, p in net.named_parameters() if p.requires_grad}


def steps(net, method, n=1):
    """Losses of some training steps on one batch, whose images are of one class and depth each."""
    batch = {
        "image": images(),
        "parts": (torch.arange(4) % 3)[:, None, None].expand(4, SIDE, SIDE),
        "depth": torch.arange(1.0, 5.0).double()[:, None, None, None].expand(4, 1, SIDE, SIDE),
    }
    optimiser = torch.optim.Adam(find_method(method).groups(net, lr=1e-2), weight_decay=1e-4)
    fabric = Fabric(accelerator="cpu", devices=1)
    wrapped, optimiser = fabric.setup(net, optimiser)
    return list(train_epoch(fabric, wrapped, optimiser, TASKS, [batch] * n))


@every_trunk
def test_heads_get_what_the_trunk_gives(kind):
    make, tree, widths, _ = TRUNKS[kind]
    taps = make()(images().float())
    maps = list(taps.values()) if isinstance(taps, dict) else taps
    assert isinstance(taps, tree) and tuple(y.shape[1] for y in maps) == widths
    seen = []
    for method in "hps", "tssbn":
        net = built(method, kind)
        for head in net.heads.values():
            head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        net(images())
    assert [type(y) for y in seen] == [type(taps)] * 4


@every_trunk
@every_method
def test_a_method_trains_all_that_leads_to_any_map(method, kind):
    net = built(method, kind)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    first, *_, last = steps(net, method, 12)
    assert sum(last.values()) < 0.9 * sum(first.values())
    changed = {n for n, p in net.named_parameters() if not torch.equal(p, before[n])}
    assert changed == trained


@every_method
def test_a_whole_run(method):
    """The trainer, its scores and what it writes down need no more of a trunk than one map does."""
    given = Network(Pair, lambda n: Head((4, 8), n, (6, 8)), torch.rand(2, 3, 6, 8))
    record = train(
        tiny.changed(tiny.run(method, epochs=2), network=given), accelerator="cpu"
    ).record
    net = find_method(method).build(given, OUTPUTS)
    assert record["finished"] and record["parameters"] == parameters(net)
    assert record["macs"] == macs(net, given.example)


@every_trunk
@gated
def test_stacked_passes_are_separate_ones(method, kind):
    net = stirred(built(method, kind))
    separate = copy.deepcopy(net)
    separate.tasks_per_pass = 1
    one, other = gradients(net, images()), gradients(separate, images())
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(net.state_dict(), separate.state_dict(), rtol=1e-9, atol=1e-12)
    net.check(images())


@every_trunk
@pytest.mark.parametrize("method", ["hps", "tsbn", "tssbn"])
def test_one_task_as_a_network_of_its_own(method, kind):
    net = stirred(built(method, kind))
    net(images())  # statistics
    net.eval()
    for task, y in net(images()).items():
        single = export.task(net, task, example=images())
        torch.testing.assert_close(single(images()), y, rtol=0, atol=1e-10)
        assert not any(isinstance(m, tssbn.norm.TaskSpecificNorm) for m in single.modules())


@every_trunk
@gated
def test_what_is_computed_again_gives_the_same_gradients(method, kind):
    net = stirred(built(method, kind))
    twin = copy.deepcopy(net)
    tssbn.recompute(twin.trunk, TRUNKS[kind][3])
    one, other = gradients(net, images()), gradients(twin, images())
    torch.testing.assert_close(one, other, rtol=0, atol=1e-14)
    torch.testing.assert_close(net.state_dict(), twin.state_dict(), rtol=0, atol=0)


@every_trunk
def test_cost_and_description(kind):
    make, _, widths, _ = TRUNKS[kind]
    trunk, head = make(), [Head(widths, n) for n in OUTPUTS.values()]
    x = images().float()
    one = macs(trunk, x)
    decoders = sum(macs(nn.Sequential(trunk, each), x) - one for each in head)
    counts = {m: macs(built(m, kind), images()) for m in METHODS}
    assert counts == {"hps": one + decoders} | dict.fromkeys(
        ("stl", "tsbn", "tssbn"), 2 * one + decoders
    )
    norms = [m for m in trunk.modules() if tssbn.is_norm(m)]
    channels = sum(m.weight.numel() for m in norms)
    text = tssbn.describe(built("tssbn", kind))
    assert f"{len(norms)} converted, 0 left alone" in text
    assert f"{channels} in the trunk for each task" in text
    assert parameters(built("stl", kind)) == 2 * parameters(trunk) + sum(map(parameters, head))


@every_trunk
@pytest.mark.parametrize("method", ["mtan", "cross-stitch"])
def test_methods_that_look_into_the_trunk_say_that_they_do_not_know_it(method, kind):
    name = type(TRUNKS[kind][0]()).__name__
    with pytest.raises(TypeError, match=f"trunk of type {name}"):
        built(method, kind)
