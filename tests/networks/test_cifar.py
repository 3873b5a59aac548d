"""The two CIFAR networks have the published sizes and shapes."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import tssbn
from tssbn.networks.cifar import VGG16, ResNet56
from tssbn.pruning import cost

VGG_WIDTHS = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
VGG_SIZES = [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2]


def channels(network):
    return sum(network.get_submodule(name).num_features for name in network.prunable)


def test_vgg16_by_hand():
    edges = list(zip([3, *VGG_WIDTHS], VGG_WIDTHS, strict=False))
    convolutions = sum(9 * a * b + b for a, b in edges)
    assert sum(VGG_WIDTHS) == 4224
    parameters = convolutions + 2 * 4224 + (512 * 10 + 10)
    macs = sum(9 * a * b * s * s for (a, b), s in zip(edges, VGG_SIZES, strict=True)) + 512 * 10
    network = VGG16()
    assert cost(network, torch.zeros(1, 3, 32, 32)) == (parameters, macs) == (14728266, 313201664)
    assert (len(network.prunable), channels(network)) == (13, 4224)


def test_resnet56_by_hand():
    stages = [(16, 16, 32), (16, 32, 16), (32, 64, 8)]  # channels before, channels, image side
    convolutions = [(3, 16, 32)]
    for before, width, side in stages:
        convolutions += [(before, width, side)] + [(width, width, side)] * 17
    norms = 16 + 18 * (16 + 32 + 64)
    parameters = sum(9 * a * b for a, b, _ in convolutions) + 2 * norms + (64 * 100 + 100)
    macs = sum(9 * a * b * s * s for a, b, s in convolutions) + 64 * 100
    network = ResNet56(classes=100)
    assert len(convolutions) + 1 == 56  # the linear layer counts
    assert cost(network, torch.zeros(1, 3, 32, 32)) == (parameters, macs)
    assert cost(ResNet56(), torch.zeros(1, 3, 32, 32)) == (853018, 125485696)
    assert (len(network.prunable), channels(network)) == (27, 9 * (16 + 32 + 64)) == (27, 1008)


def test_vgg16_takes_torchvision_checkpoints():
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        theirs = models.vgg16_bn().features.state_dict()
        ours = VGG16().features.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_resnet56_shortcut_skips_pixels_and_pads_both_sides():
    block = ResNet56().stages[1][0].eval()
    nn.init.zeros_(block.bn2.weight)  # the branch adds nothing: what is left is the shortcut
    x = torch.rand(2, 16, 8, 8)
    y = block(x)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert y[:, :8].abs().max() == y[:, 24:].abs().max() == 0


def test_resnet56_stem_has_no_relu():
    network = ResNet56()
    assert [type(part) for part in network.stem] == [nn.Conv2d, nn.BatchNorm2d]


@pytest.mark.parametrize("network", [VGG16, ResNet56])
def test_start_values(network):
    network = network()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert (part.weight == 0.5).all() and (part.bias == 0).all()
        if isinstance(part, nn.Conv2d):
            expected = (2 / (9 * part.out_channels)) ** 0.5
            assert part.weight.std().item() == pytest.approx(expected, rel=0.15)
            assert part.bias is None or (part.bias == 0).all()
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert (network.classifier.bias == 0).all()


@pytest.mark.parametrize("network", [VGG16, ResNet56])
def test_prunable_layers_stay_the_same_when_gated(network):
    plain, gated = network(), tssbn.sigmoid(network(), affine="paper")
    assert plain.prunable == gated.prunable
    norms = sum(m.num_features for m in gated.modules() if isinstance(m, _BatchNorm))
    fewer = sum(p.numel() for p in plain.parameters()) - sum(p.numel() for p in gated.parameters())
    assert fewer == norms  # σBN has no bias
    assert gated(torch.rand(2, 3, 32, 32)).shape == (2, 10)
