"""Families of layers, norms, trunks and images that several tests run through."""

import pytest
import torch
from settings import DEVICE, DTYPE
from torch import nn

import tssbn
from tssbn.methods.ablations import affine, statistics

TASKS = ("seg", "depth", "normal")

# What a task may own in a norm layer: the two of the paper, and the two ablations.
NORMS = {"sigmoid": "sigmoid", "plain": "plain", "statistics": statistics, "affine": affine}


def normal(*shape, dtype=DTYPE):
    """Standard normal numbers."""
    return torch.randn(*shape, device=DEVICE, dtype=dtype)


def images(count, side, dtype=DTYPE):
    """Images of three channels and standard normal pixels."""
    return normal(count, 3, side, side, dtype=dtype)


# -- layers of one task: σ layer, its host, their arguments, shape of an input --------------------

SIGMOID = [
    (tssbn.SigmoidBatchNorm1d, nn.BatchNorm1d, (6,), (5, 6)),
    (tssbn.SigmoidBatchNorm1d, nn.BatchNorm1d, (6,), (5, 6, 4)),
    (tssbn.SigmoidBatchNorm2d, nn.BatchNorm2d, (6,), (5, 6, 3, 2)),
    (tssbn.SigmoidBatchNorm3d, nn.BatchNorm3d, (6,), (2, 6, 3, 2, 2)),
    (tssbn.SigmoidLayerNorm, nn.LayerNorm, (6,), (5, 4, 6)),
    (tssbn.SigmoidLayerNorm, nn.LayerNorm, ((2, 6),), (5, 2, 6)),
    (tssbn.SigmoidRMSNorm, nn.RMSNorm, (6,), (5, 4, 6)),
    (tssbn.SigmoidGroupNorm, nn.GroupNorm, (3, 6), (5, 6, 4)),
    (tssbn.SigmoidInstanceNorm1d, nn.InstanceNorm1d, (6,), (5, 6, 4)),
    (tssbn.SigmoidInstanceNorm2d, nn.InstanceNorm2d, (6,), (5, 6, 3, 2)),
    (tssbn.SigmoidInstanceNorm3d, nn.InstanceNorm3d, (6,), (2, 6, 3, 2, 2)),
]
LAYERS = [
    pytest.param(*layer, id=f"{layer[0].__name__}-{'x'.join(map(str, layer[3]))}")
    for layer in SIGMOID
]

# -- hosts of task-specific layers, of so many channels, for images of 3x2 ------------------------

HOSTS = {
    "batch": lambda c: nn.BatchNorm2d(c),
    "batch-cumulative": lambda c: nn.BatchNorm2d(c, momentum=None),
    "batch-untracked": lambda c: nn.BatchNorm2d(c, track_running_stats=False),
    "batch-not-affine": lambda c: nn.BatchNorm2d(c, affine=False),
    "instance": lambda c: nn.InstanceNorm2d(c, track_running_stats=True),
    "group": lambda c: nn.GroupNorm(1, c),
    "layer": lambda c: nn.LayerNorm((c, 3, 2)),
}

# -- small trunks for images of 6x6 ---------------------------------------------------------------


class Residual(nn.Module):
    """A pre-norm block: the stream goes around the norm."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)

    def forward(self, x):
        return x + self.mix(self.norm(x))


def conv_trunk():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    )


def token_trunk():
    return nn.Sequential(nn.Flatten(2), nn.Linear(36, 8), Residual(8), Residual(8), nn.LayerNorm(8))


# -- ready-made backbones: how to build one, the side of its images, its stem ---------------------


def resnet():
    models = pytest.importorskip("torchvision").models.resnet
    from narrow import NarrowResNet

    return NarrowResNet(models.BasicBlock, [1, 1, 1, 1], 8)


def bottlenecks():
    models = pytest.importorskip("torchvision").models.resnet
    from narrow import NarrowResNet

    return NarrowResNet(models.Bottleneck, [1, 2, 1, 1], 8)


def convnext():
    parts = pytest.importorskip("torchvision").models.convnext
    blocks = [parts.CNBlockConfig(8, 16, 1), parts.CNBlockConfig(16, None, 1)]
    return parts.ConvNeXt(blocks, stochastic_depth_prob=0.0, num_classes=8)


def windows():
    parts = pytest.importorskip("torchvision").models.swin_transformer
    sizes = {"patch_size": [4, 4], "window_size": [4, 4]}
    return parts.SwinTransformer(
        embed_dim=8,
        depths=[2, 1],
        num_heads=[1, 2],
        stochastic_depth_prob=0.0,
        num_classes=8,
        **sizes,
    )


def vit():
    timm = pytest.importorskip("timm")
    return timm.create_model(
        "vit_small_patch16_224", num_classes=8, img_size=32, depth=2, embed_dim=48, num_heads=3
    )


class SegNet(nn.Module):
    """A small encoder-decoder that unpools where it pooled."""

    def __init__(self, widths=(8, 16)):
        super().__init__()
        pairs = list(zip((3, *widths[:-1]), widths, strict=True))
        self.down = nn.ModuleList(self._block(a, b) for a, b in pairs)
        self.up = nn.ModuleList(self._block(b, max(a, 8)) for a, b in reversed(pairs))
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)

    @staticmethod
    def _block(a, b):
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())

    def forward(self, x):
        places = []
        for block in self.down:
            x, indices = self.pool(block(x))
            places.append(indices)
        for block, indices in zip(self.up, reversed(places), strict=True):
            x = block(self.unpool(x, indices))
        return x


def full_size(name, **options):
    """A model of torchvision at its full size, that drops nothing at random."""
    vision = pytest.importorskip("torchvision")
    model = vision.models.get_model(name, num_classes=8, **options)
    for module in model.modules():
        if isinstance(module, vision.ops.StochasticDepth):
            module.p = 0.0
    return model


BACKBONES = {
    "resnet": (resnet, 32, "layer1"),
    "bottlenecks": (bottlenecks, 32, "layer1"),
    "convnext": (convnext, 32, "features.0.1"),
    "swin": (windows, 32, "features.0.2"),
    "vit": (vit, 32, "blocks"),
    "segnet": (SegNet, 32, "pool"),
}
FULL_SIZE = {  # with --all-families
    "resnet18": (lambda: full_size("resnet18"), 32, "layer1"),
    "resnet50": (lambda: full_size("resnet50"), 64, "layer1"),
    "convnext_tiny": (lambda: full_size("convnext_tiny"), 64, "features.0.1"),
    "swin_t": (lambda: full_size("swin_t"), 64, "features.0.2"),
}
