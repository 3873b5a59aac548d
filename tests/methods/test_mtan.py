"""MTAN: the published sizes, and what its masks see, choose and leave alone."""

import copy
from functools import partial
from itertools import pairwise

import pytest
import torch
from settings import DEVICE, DTYPE
from torch import nn
from torch.nn import functional as F

pytest.importorskip("timm")
pytest.importorskip("torchvision")

from timm.models.resnet import BasicBlock, Bottleneck, ResNet

from tssbn.cost import macs, parameters
from tssbn.methods import Network, find_method, hard_sharing, mtan, single
from tssbn.networks.celeba import CelebANet
from tssbn.networks.deeplab import DeepLabHead, dilated_resnet
from tssbn.networks.segnet import SegNet, SegNetHead

ROOMS = {"segmentation": 13, "depth": 1, "normal": 3}
STREETS = {"segmentation": 19, "parts": 10, "disparity": 1}
FACES = {f"attribute{i}": 1 for i in range(40)}


def plain_resnet(block, **head):
    return ResNet(block, (1, 2, 3, 2), channels=(4, 8, 16, 32), **head)


FULL = {
    "segnet": (SegNet, SegNetHead, ROOMS),
    "resnet": (dilated_resnet, DeepLabHead, STREETS),
    "celeba": (CelebANet, partial(nn.Linear, 512), FACES),
}
SMALL = {
    "segnet": (partial(SegNet, 8), partial(SegNetHead, width=8), ROOMS),
    "resnet": (
        partial(dilated_resnet, (1, 2, 3, 2), (4, 8, 16, 32)),
        partial(DeepLabHead, inputs=128, width=8),
        STREETS,
    ),
    "celeba": (partial(CelebANet, 8), partial(nn.Linear, 64), {"hat": 1, "tie": 1, "smile": 1}),
    "plain": (  # without dilation: each stage but the first halves the map, rounding up
        partial(plain_resnet, BasicBlock, num_classes=0, global_pool=""),
        partial(nn.Conv2d, 32, kernel_size=1),
        STREETS,
    ),
}
SIZES = {"segnet": (48, 64), "resnet": (48, 64), "celeba": (64, 64), "plain": (75, 52)}


def image(kind):
    return torch.rand(2, 3, *SIZES[kind], dtype=DTYPE, device=DEVICE)


def small(kind, method=mtan):
    """A narrow network, the same at each call."""
    trunk, head, outputs = SMALL[kind]
    torch.manual_seed(1)
    return method.build(Network(trunk, head, image(kind)), outputs).to(DEVICE, DTYPE)


def settled(kind):
    """A narrow network in eval mode, with running statistics of some images."""
    net = small(kind)
    with torch.no_grad():
        for _ in range(2):
            net(image(kind))
    return net.eval()


def set_masks(net, value, stages=slice(None)):
    """Hold masks at 0 or 1."""
    for task in net.tasks:
        for mask in net.masks[task][stages]:
            nn.init.zeros_(mask[-2].weight)
            nn.init.constant_(mask[-2].bias, 1000.0 if value else -1000.0)


def record(modules, inputs=False):
    """What modules give, or get, in the order of their calls."""
    seen = []
    for module in modules:
        module.register_forward_hook(lambda _, x, y: seen.append(x[0] if inputs else y))
    return seen


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "size", "ratio"),
    [
        ("segnet", 44_229_073, "0.59"),
        ("resnet", 92_351_262, "0.78"),
        ("celeba", 80_436_328, "0.39"),
    ],
)
def test_published_number_of_parameters(kind, size, ratio):
    trunk, head, outputs = FULL[kind]
    with torch.device("meta"):
        network = Network(trunk, head, None)
        net, stl = mtan.build(network, outputs), single.build(network, outputs)
    assert parameters(net) == size  # mtan's 44,229,076 for the SegNet have 3 weights of losses
    assert f"{size / parameters(stl):.2f}" == ratio


def conv(side, before, after):
    """A convolution with its bias, and BatchNorm."""
    return side * side * before * after + 3 * after


def mask(before, inside, after):
    return conv(1, before, inside) + conv(1, inside, after)


@pytest.mark.parametrize("width", [8, 64])
def test_segnet_by_hand(width):
    w1, w2, w3, w4, w5 = (n * width for n in (1, 2, 4, 8, 8))
    masks = mask(w1, w1, w1) + sum(mask(2 * w, w, w) for w in (w2, w3, w4, w5))
    masks += sum(mask(a + b, b, b) for a, b in [(w5, w4), (w4, w3), (w3, w2), (w2, w1), (w1, w1)])
    pairs = [(w1, w2), (w2, w3), (w3, w4), (w4, w5), (w5, w5)]
    pairs += [(w5, w4), (w4, w3), (w3, w2), (w2, w1), (w1, w1)]
    carries = sum(conv(3, a, b) for a, b in pairs)
    with torch.device("meta"):
        network = Network(partial(SegNet, width), partial(SegNetHead, width=width), None)
        net, hps = mtan.build(network, ROOMS), hard_sharing.build(network, ROOMS)
    assert parameters(net) == parameters(hps) + 3 * masks + carries


@pytest.mark.parametrize("width", [4, 64])
def test_resnet_by_hand(width):
    c = [n * width for n in (4, 8, 16, 32)]
    masks = mask(c[0], c[0] // 4, c[0]) + sum(mask(2 * n, n // 4, n) for n in c[1:])

    def bottleneck(a, b):
        inside = b // 4
        weights = a * inside + 9 * inside * inside + inside * b + a * b
        return weights + 2 * (inside + inside + b + b)

    carries = sum(bottleneck(a, b) for a, b in pairwise(c))
    trunk = partial(dilated_resnet, (3, 4, 6, 3), tuple(n // 4 for n in c))
    with torch.device("meta"):
        network = Network(trunk, partial(DeepLabHead, inputs=c[-1], width=8), None)
        net, hps = mtan.build(network, STREETS), hard_sharing.build(network, STREETS)
    assert parameters(net) == parameters(hps) + 3 * masks + carries


@pytest.mark.parametrize("width", [8, 64])
def test_celeba_by_hand(width):
    c = [n * width for n in (1, 2, 4, 8)]
    masks = mask(c[0], c[0], c[0]) + sum(mask(2 * n, n, n) for n in (*c[1:], c[-1]))
    carries = sum(9 * a * b + 2 * b for a, b in pairwise(c))
    carries += c[-1] * c[-1] + 2 * c[-1]
    with torch.device("meta"):
        network = Network(partial(CelebANet, width), partial(nn.Linear, c[-1]), None)
        net, hps = mtan.build(network, FACES), hard_sharing.build(network, FACES)
    assert parameters(net) == parameters(hps) + 40 * masks + carries


def test_a_task_of_celeba_computes_less_than_a_network_of_its_own():
    with torch.device("meta"):
        network, x = Network(*FULL["celeba"][:2], None), torch.empty(1, 3, 64, 64)
        one, two = (macs(mtan.build(network, {t: 1 for t in names}), x) for names in ("a", "ab"))
        assert two - one < macs(hard_sharing.build(network, {"a": 1}), x) < one


# -- masks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SMALL)
def test_open_masks_are_hard_sharing(kind):
    net, x = settled(kind), image(kind)
    hps = hard_sharing.build(Network(*SMALL[kind][:2], x), SMALL[kind][2]).to(DEVICE, DTYPE).eval()
    hps.trunk, hps.heads = net.trunk, net.heads
    assert all((y != net(x)[task]).any() for task, y in hps(x).items())
    set_masks(net, 1)
    for task, y in hps(x).items():
        assert torch.equal(net(x)[task], y)


@pytest.mark.parametrize("kind", SMALL)
def test_closed_masks_choose_nothing(kind):
    net, x = settled(kind), image(kind)
    set_masks(net, 0, stages=slice(-1, None))
    got = record(net.heads.values(), inputs=True)
    net(x)
    assert len(got) == 3
    assert all(features.eq(0).all() for features in got)


@pytest.mark.parametrize("kind", SMALL)
def test_masks_lie_between_0_and_1_and_gate_what_the_trunk_gives(kind):
    net, x = settled(kind), image(kind)
    last = record([net.masks[task][-1] for task in net.tasks])
    heard = record(net.heads.values(), inputs=True)
    net(x)
    for values, features in zip(last, heard, strict=True):
        assert 0 < values.min() < values.max() < 1
        assert torch.equal(features, values * net.trunk(x))


def check_stages(net, x, task, early, outputs):
    """Masks see the channels of `early` first, and what is carried on is mask times output."""
    seen = record([m[0] for m in net.masks[task]], inputs=True)
    values = record(net.masks[task])
    carried = record(net.carries, inputs=True)
    net(x, [task])
    assert len(seen) == len(early) == len(outputs) == len(carried) + 1
    assert torch.equal(seen[0], early[0])
    for j in range(1, len(seen)):
        assert torch.equal(carried[j - 1], values[j - 1] * outputs[j - 1])
        brought = net.carries[j - 1](carried[j - 1], early[j].shape[2:])
        assert torch.equal(seen[j], torch.cat([early[j], brought], 1))


def test_segnet_stages():
    net, x = settled("segnet"), image("segnet")
    downs, ups = list(net.trunk.encoder), list(reversed(net.trunk.decoder))
    first = record([stage[0] for stage in downs])
    unpooled = record([stage[0] for stage in ups], inputs=True)
    outputs = record([stage[-1] for stage in downs + ups])
    net.trunk(x)
    check_stages(net, x, "depth", first[:5] + unpooled[:5], outputs[:10])


@pytest.mark.parametrize("kind", ["resnet", "plain"])
def test_resnet_stages(kind):
    net, x = settled(kind), image(kind)
    layers = [getattr(net.trunk, f"layer{j}") for j in (1, 2, 3, 4)]
    before = record([layer[-1] for layer in layers[1:]], inputs=True)
    outputs = record([layer[-1] for layer in layers])
    net.trunk(x)
    # The first stage has one block: its mask sees what that gives.
    check_stages(net, x, "parts", [outputs[0], *before[:3]], outputs[:4])


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
@pytest.mark.parametrize("size", [(64, 96), (33, 50), (75, 52)])
def test_a_plain_resnet_is_carried_to_the_size_of_each_stage(block, size):
    trunk = plain_resnet(block, num_classes=0, global_pool="")
    head = partial(nn.Conv2d, trunk.num_features, kernel_size=1)
    net = mtan.build(Network(lambda: trunk, head, None), STREETS)
    carried = record(net.carries)
    outputs = record([trunk.layer2[-1], trunk.layer3[-1], trunk.layer4[-1]])
    net(torch.rand(2, 3, *size))
    assert [y.shape for y in carried] == 3 * [y.shape for y in outputs]


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_pooling_and_last_layer_of_a_resnet_read_what_was_chosen(block):
    x = torch.rand(4, 3, 64, 64, dtype=DTYPE, device=DEVICE)
    network = Network(partial(plain_resnet, block, num_classes=7), partial(nn.Linear, 7), x)
    net = mtan.build(network, STREETS).to(DEVICE, DTYPE)
    net(x)
    net.eval()
    values, outputs = record([net.masks["parts"][-1]]), record([net.trunk.layer4[-1]])
    read = record([net.heads["parts"]], inputs=True)
    net(x, ["parts"])
    pooled = (values[0] * outputs[0]).mean((2, 3))
    assert torch.allclose(read[0], F.linear(pooled, net.trunk.fc.weight, net.trunk.fc.bias))
    set_masks(net, 1)
    assert torch.equal(net(x)["parts"], net.heads["parts"](net.trunk(x)))


def test_celeba_stages():
    net, x = settled("celeba"), image("celeba")
    first = record([*(stage[0] for stage in net.trunk.stages), net.trunk.linear[0]])
    outputs = record([*(stage[-1] for stage in net.trunk.stages), net.trunk.linear[1]])
    net.trunk(x)
    pool = nn.MaxPool2d(2)
    early = [*map(pool, first[:3]), *first[3:5]]
    check_stages(net, x, "tie", early, [*map(pool, outputs[:3]), *outputs[3:5]])


@pytest.mark.parametrize(
    ("kind", "heights"),
    [
        ("segnet", [48, 24, 12, 6, 3, 3, 6, 12, 24, 48]),  # convolutions, then pooling, and back
        ("resnet", [12, 6, 6]),  # before and after the pooling, not dilated
        ("celeba", [16, 8, 8]),  # poolings of 64, then convolutions
    ],
)
def test_sizes_at_which_is_carried(kind, heights):
    net = settled(kind)
    convs = [m for m in net.carries.modules() if getattr(m, "kernel_size", 0) == (3, 3)]
    made = record(convs)
    net(image(kind), net.tasks[:1])
    assert [y.shape[-2] for y in made] == heights


def test_enlargement_keeps_a_ramp_and_its_ends():
    net = settled("segnet")
    ramp = torch.arange(4, dtype=DTYPE, device=DEVICE).expand(1, 2, 3, 4)
    for carry in net.carries[5:]:
        carry.up = nn.Identity()
        halves = carry(ramp, (6, 7))
        assert torch.allclose(halves, torch.arange(7).to(ramp).div(2).expand(1, 2, 6, 7))


def test_what_reaches_the_linear_layers_is_an_average():
    carry, x = settled("celeba").carries[-1], torch.rand(2, 64, 8, 8).to(DEVICE, DTYPE)
    assert torch.allclose(carry(x, ()), carry.down[-1](x.mean((2, 3))))


@pytest.mark.parametrize("kind", SMALL)
def test_a_mask_is_two_layers_with_a_relu_between(kind):
    for mask in small(kind).masks.modules():
        if isinstance(mask, nn.Sequential):
            layer, norm = type(mask[0]), type(mask[1])
            assert [type(part) for part in mask] == [layer, norm, nn.ReLU, layer, norm, nn.Sigmoid]


# -- tasks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SMALL)
def test_loss_of_a_task_reaches_its_own_masks_and_what_is_shared(kind):
    net = small(kind)
    own, *others = net.tasks
    net(image(kind))[own].square().sum().backward()
    for stage in net.masks[own]:
        assert stage[0].weight.grad.abs().max() > 0
    for shared in (net.trunk, *net.carries, net.heads[own]):
        for name, p in shared.named_parameters():
            assert p.grad is not None, name
        assert max(p.grad.abs().max() for p in shared.parameters()) > 0
    for other in others:
        for part in (net.masks[other], net.heads[other]):
            assert all(p.grad is None for p in part.parameters())


@pytest.mark.parametrize("kind", SMALL)
def test_some_tasks_predict_what_all_do(kind):
    net, x = settled(kind), image(kind)
    whole = net(x)
    assert list(whole) == list(net.tasks) == list(SMALL[kind][2])
    first, _, last = net.tasks
    some = net(x, [last, first])
    assert list(some) == [first, last]
    assert all(torch.equal(some[task], whole[task]) for task in some)


@pytest.mark.parametrize("kind", SMALL)
def test_masks_of_other_tasks_do_not_run(kind):
    net = small(kind)
    own, *others = net.tasks
    net(image(kind), [own])
    counts = {
        task: {int(mask[1].num_batches_tracked) for mask in net.masks[task]} for task in others
    }
    assert counts == {task: {0} for task in others}
    assert {int(mask[1].num_batches_tracked) for mask in net.masks[own]} == {1}


def test_the_trunk_runs_once_and_what_carries_once_a_task():
    net = small("segnet")
    net(image("segnet"))
    assert {int(m.num_batches_tracked) for m in net.trunk.modules() if is_norm(m)} == {1}
    assert {int(m.num_batches_tracked) for m in net.carries.modules() if is_norm(m)} == {3}


def is_norm(module):
    return isinstance(module, nn.BatchNorm2d)


def test_all_tasks_share_a_pass():
    net = small("celeba")
    assert list(net.passes()) == [("hat", "tie", "smile")]
    with pytest.raises(ValueError, match="'beard'"):
        net(image("celeba"), ["beard"])


# -- start -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SMALL)
def test_trunk_and_heads_start_as_those_of_hard_sharing(kind):
    state, hps = small(kind).state_dict(), small(kind, hard_sharing).state_dict()
    assert all(torch.equal(state[name], value) for name, value in hps.items())


def test_segnet_starts_as_its_trunk_does():
    net = small("segnet")
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 1000]
    assert len(convs) == 60
    for part in convs:
        side = part.kernel_size[0] ** 2
        expected = (2 / (side * (part.in_channels + part.out_channels))) ** 0.5
        assert part.weight.std().item() == pytest.approx(expected, rel=0.15)
        assert part.bias.eq(0).all()


def test_a_copy_is_another_network():
    net, x = settled("resnet"), image("resnet")
    twin, before = copy.deepcopy(net), net(x)
    set_masks(net, 0)
    for task, y in twin(x).items():
        assert torch.equal(y, before[task])
        assert not torch.equal(net(x)[task], y)


def test_the_method():
    method = find_method("mtan")
    net = small("celeba")
    (group,) = method.groups(net, 0.1)
    assert (method.title, method.build, group["lr"]) == ("MTAN", mtan.build, 0.1)
    assert len(group["params"]) == len(list(net.parameters()))


def test_other_trunks_are_named():
    network = Network(
        lambda: nn.Conv2d(3, 4, 3), lambda n: nn.Conv2d(4, n, 1), torch.zeros(2, 3, 8, 8)
    )
    with pytest.raises(TypeError, match=r"SegNet, CelebANet and timm's ResNet.*Conv2d"):
        mtan.build(network, {"depth": 1})
