"""A small trunk of every kind that has stages, and one of a user's own."""

from functools import partial

import pytest
import torch
from shallow import segnet
from torch import nn
from torch.nn import functional as F

pytest.importorskip("timm")
pytest.importorskip("torchvision")

from timm.models.resnet import BasicBlock, ResNet

from tssbn.methods import Network
from tssbn.networks.celeba import CelebANet
from tssbn.networks.deeplab import DeepLabHead, dilated_resnet
from tssbn.networks.segnet import SegNetHead
from tssbn.networks.stages import last, read
from tssbn.networks.unet import UNet


class Skip(nn.Module):
    """Fine features go past the coarse stage, in a variable of the run."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.coarse = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.up = nn.Conv2d(12, 6, 1)

    def forward_stages(self, x):
        fine = self.fine(x)
        x = read(fine, (yield fine))
        x = self.coarse(x).relu()
        x = read(x, (yield x))
        yield self.up(torch.cat([F.interpolate(x, fine.shape[2:]), fine], 1))

    def forward(self, x):
        return last(self.forward_stages(x))


class Times(nn.Module):
    """Multiplies by a number of its own."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def sequential():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3),
    )


def images(height, width, count=4):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def classifier(outputs):
    return nn.Linear(5, outputs)


# Trunk and head as a benchmark has them; how many stages.
NETWORKS = {
    "segnet": (
        Network(partial(segnet, 4, stages=3), partial(SegNetHead, width=4), images(16, 32, 2)),
        6,
    ),
    "celeba": (Network(partial(CelebANet, 4), partial(nn.Linear, 32), images(16, 16)), 5),
    "dilated": (
        Network(
            partial(dilated_resnet, (1, 2, 1, 1), (4, 4, 8, 8)),
            partial(DeepLabHead, inputs=32, width=4),
            images(16, 16),
        ),
        5,
    ),
    "classifier": (  # a plain ResNet, with a pooling and a last layer in the trunk
        Network(
            partial(ResNet, BasicBlock, (1, 2, 1, 1), num_classes=5, channels=(4, 8, 8, 8)),
            classifier,
            images(41, 35),
        ),
        5,
    ),
    "unet": (Network(partial(UNet, 4), partial(nn.Conv2d, 4, kernel_size=1), images(16, 24)), 7),
    "sequential": (Network(sequential, partial(nn.Conv2d, 6, kernel_size=1), images(12, 12)), 3),
    "own": (Network(Skip, partial(nn.Conv2d, 6, kernel_size=1), images(12, 12)), 3),
}
