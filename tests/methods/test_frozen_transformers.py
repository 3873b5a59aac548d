"""Methods that train little of a frozen transformer: where they start, and what they train."""

import copy
from dataclasses import replace

import pytest
import torch
from asserts import DOUBLE, assert_is_multitask, assert_same_outputs, assert_stacked_is_separate
from torch import nn

pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")

from tiny_transformers import NETWORKS
from transformer_methods import ALIKE, drawn

from tssbn import export
from tssbn.benchmarks.transformers import swin_network, vit_network
from tssbn.methods import Network, find_method, nothing
from tssbn.methods.freeze import groups
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.networks.vit import ViT
from tssbn.tasks import TaskSpecific

OUTPUTS = {"seg": 3, "depth": 1}
OPTIONS = {**ALIKE, "vpt-shallow": {"prompts": 3}, "vpt-deep": {"prompts": 3}}
SHARED = ("heads-only", "shared-norm", "lora-shared", "vl-adapter", "shared-gates-frozen")
ANY_TRUNK = ("heads-only", "shared-norm", "tsbn-frozen", "tssbn-frozen", "shared-gates-frozen")
SWIN, VIT = (replace(NETWORKS[kind], trains=nothing) for kind in ("swin", "vit"))


def images(network, count=2):
    shape = count, 3, *network.example.shape[2:]
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def built(method, network=SWIN, outputs=OUTPUTS, **options):
    torch.manual_seed(0)
    return find_method(method).build(network, outputs, **{**OPTIONS.get(method, {}), **options})


@pytest.mark.parametrize("method", ALIKE)
def test_it_starts_as_the_frozen_trunk(method):
    net, frozen = (built(name).double().eval() for name in (method, "hps"))
    x = images(SWIN)
    assert_same_outputs(net(x), frozen(x), **DOUBLE)


ON_VIT = ("shared-norm", "bitfit", "adapter", "vpt-shallow", "vpt-deep", "tssbn-lora")
CASES = [(SWIN, method) for method in OPTIONS] + [(VIT, method) for method in ON_VIT]


@pytest.mark.parametrize(("network", "method"), CASES)
def test_stacked_tasks_are_separate_passes(network, method):
    net = drawn(built(method, network))
    assert_stacked_is_separate(net, images(network))
    own = any(isinstance(layer, TaskSpecific) for layer in net.trunk.modules())
    assert own == (method not in SHARED)
    assert_is_multitask(net, images(network))


@pytest.mark.parametrize("method", ["bitfit", "adapter", "vpt-shallow", "vpt-deep", "tssbn-lora"])
def test_tasks_part_late_and_leave_as_networks_of_their_own(method):
    net, x = drawn(built(method)), images(SWIN)
    expected = net(x)
    net.share_stem(x)
    assert_same_outputs(net(x), expected, **DOUBLE)
    if method == "adapter":
        assert net.stem == "layers.0.blocks.0"
    alone = export.task(net, "depth", example=x)
    torch.testing.assert_close(alone(x), expected["depth"], **DOUBLE)


def test_biases_that_are_alike_need_one_pass():
    net, x = drawn(built("bitfit")), images(SWIN)
    for layer in net.trunk.modules():
        if isinstance(layer, TaskSpecific):
            layer.delta.data[1] = layer.delta[0]
    heads = dict.fromkeys(OUTPUTS, nn.Identity())
    net.heads = nn.ModuleDict(heads)
    outputs = net(x)
    for one, other in zip(outputs["seg"], outputs["depth"], strict=True):
        torch.testing.assert_close(one, other, **DOUBLE)


@pytest.mark.parametrize("method", ["lora", "vl-adapter", "vpt-deep", "bitfit"])
def test_what_the_network_names_is_trained_beside_it(method):
    net = built(method, NETWORKS["swin"])
    trained = {name for name, p in net.trunk.named_parameters() if p.requires_grad}
    assert {"patch_embed.proj.weight", "layers.1.downsample.reduction.weight"} <= trained
    assert not any("qkv" in name and name.endswith("weight") for name in trained - own_names(net))
    if method == "bitfit":  # what all tasks learn in common is no task's own
        assert not any(name.startswith("patch_embed.proj.1") for name in trained)


def own_names(net):
    return {name for name, _ in net.trunk.named_parameters() if ".update." in name}


@pytest.mark.parametrize("method", [name for name in OPTIONS if name not in ANY_TRUNK])
def test_other_trunks_are_refused(method):
    network = Network(lambda: nn.Conv2d(3, 4, 1), lambda n: nn.Conv2d(4, n, 1), torch.zeros(2))
    with pytest.raises(UnsuitableTrunk, match="of type Conv2d has"):
        built(method, network)


def test_the_trunk_has_a_rate_of_its_own():
    net = built("bitfit", NETWORKS["swin"])
    heads, trunk = groups(net, lr=0.1, multiplier=10.0)
    assert (heads["lr"], trunk["lr"]) == (0.1, 1.0)
    names = {id(p): name for name, p in net.named_parameters() if p.requires_grad}
    listed = [[names.pop(id(p)) for p in group["params"]] for group in (heads, trunk)]
    assert not names
    for prefix, chosen in zip(("heads.", "trunk."), listed, strict=True):
        assert chosen and all(name.startswith(prefix) for name in chosen)


def pooled(width, inputs):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, width))


class LastMap(nn.Module):
    """Reads the last of some maps."""

    def __init__(self, outputs):
        super().__init__()
        self.read = pooled(outputs, 16)

    def forward(self, maps):
        return self.read(maps[-1])


def tiny():
    """A trunk whose random features are as lively as learned ones."""
    trunk = ViT((16, 16), width=16, depth=2, heads=2, patch=8, taps=(2,), drop_path=0.0)
    for value in trunk.parameters():
        if value.ndim > 1:
            nn.init.normal_(value, std=0.4)
    return trunk


TINY = Network(tiny, LastMap, torch.zeros(2, 3, 16, 16))


@pytest.mark.parametrize("method", [name for name in OPTIONS if name != "heads-only"])
def test_what_is_trained_in_the_trunk_learns_samples_by_heart(method):
    options = {"affine": "auto"} if "affine" in OPTIONS[method] else {}
    net = built(method, TINY, {"a": 2, "b": 1}, **options)
    net.heads.requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 16, 16, generator=random)
    with torch.no_grad():
        targets = {t: y + torch.randn(y.shape, generator=random) / 4 for t, y in net(x).items()}
    trained = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=2e-2)
    start = None
    for _ in range(150):
        losses = {t: (y - targets[t]).square().mean() for t, y in net(x).items()}
        start = start or losses
        sum(losses.values()).backward()
        optimiser.step()
        optimiser.zero_grad()
        if all(losses[t] < 0.2 * start[t] for t in losses):
            return
    pytest.fail(f"from {start} to {losses}")


# -- parameters at full size ----------------------------------------------------------------------

PASCAL = {"segmentation": 21, "parts": 7, "saliency": 1, "normal": 3}
LORA, MLP = 1_130_496, 39_744  # rank 16 on four layers; biases of the linear layers
BESIDE = 4_704 + 23_322 + 1_548_288  # patches, tables, merging
GATES = 11_616  # channels of LayerNorm
ALONE = [  # trunk part, where nothing is trained beside the method
    ("heads-only", {}, 0),
    ("shared-norm", {}, 2 * GATES),
    ("bitfit", {}, 4 * 74_778),
    ("bitfit", {"tables": False}, 205_824),
    ("lora", {}, 282_624),
    ("lora", {"biases": True}, 282_624 + MLP),
    ("lora-shared", {}, LORA),
    ("adapter", {}, 8_670_336),
    ("adapter", {"norms": True}, 8_693_568),
    ("vl-adapter", {}, 2_190_816),
    ("compacter", {}, 230_784),
    ("compacter++", {}, 115_392),
    ("vpt-shallow", {}, 19_200),
    ("vpt-deep", {}, 883_200),
]
WITH_OTHERS = [  # as in MTLoRA's protocol
    ("lora-shared", {}, LORA + BESIDE + 2 * GATES),
    ("tssbn-frozen", {"affine": "paper"}, BESIDE + 4 * GATES),
    ("tssbn-frozen", {"affine": "preserve"}, BESIDE + 8 * GATES),
    ("tsbn-frozen", {}, BESIDE + 8 * GATES),
    ("tssbn-lora", {"affine": "paper"}, BESIDE + 4 * GATES + LORA + MLP),
    ("tssbn-lora", {"affine": "preserve", "biases": False}, BESIDE + 8 * GATES + LORA),
]
COUNTS = [(swin_network(beside=False), *case) for case in ALONE]
COUNTS += [(swin_network(), *case) for case in WITH_OTHERS]


@pytest.fixture(scope="module")
def swin():
    """The trunk at full size, without values: each test copies it."""
    with torch.device("meta"):
        return swin_network().trunk()


@pytest.mark.parametrize(("network", "method", "options", "expected"), COUNTS)
def test_parameters_of_swin_at_full_size(network, method, options, expected, swin):
    network = replace(network, trunk=lambda: copy.deepcopy(swin))
    with torch.device("meta"):
        net = find_method(method).build(network, PASCAL, **options)
    decoders = sum(p.numel() for p in net.heads.parameters())
    trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert (trained - decoders, decoders) == (expected, 1_946_624)


def test_gates_of_a_vit_at_full_size():
    with torch.device("meta"):
        net = find_method("tssbn-frozen").build(vit_network(), {**PASCAL, "edges": 1})
    fusion = sum(p.numel() for p in net.trunk.fusion.parameters() if p.requires_grad)
    gates = 5 * (9_600 + 4 * 384)
    assert sum(p.numel() for p in net.trunk.parameters() if p.requires_grad) == (
        fusion - 5 * 4 * 384 + gates
    )
    assert fusion == 5_606_592 + (5 - 2) * 4 * 384
