"""The small network that the multi-task papers train on CelebA (Liu et al., FAMO, 2306.03792)."""

import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.networks.stages import Call, Stages, call, last, read

__all__ = ["CelebANet"]


class CelebANet(nn.Module):
    """A trunk of seven 3x3 convolutions, an average over the image, and two linear layers.

    The convolutions form four stages; a 2x2 max-pooling follows each of the first three. BatchNorm
    and ReLU follow each of the nine layers, which have no biases. At full width it has 9 BatchNorm
    layers with 2,880 channels, and 5,176,640 parameters. A task's head is one linear layer.

    Args:
        width: channels of the first stage; the others have 2, 4 and 8 times as many.

    Shape: (B, 3, H, W) -> (B, 8 width) with H, W >= 8.

    Attributes:
        stages: the four stages, without the poolings.
        linear: the two linear layers after the average.

    Example:
        >>> import torch
        >>> CelebANet(width=4)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 32])
    """

    def __init__(self, width: int = 64):
        super().__init__()
        wide = 8 * width
        self.stages = nn.ModuleList(
            [
                nn.Sequential(block(3, width)),
                nn.Sequential(block(width, 2 * width), block(2 * width, 2 * width)),
                nn.Sequential(block(2 * width, 4 * width), block(4 * width, 4 * width)),
                nn.Sequential(block(4 * width, wide), block(wide, wide)),
            ]
        )
        self.linear = nn.Sequential(linear(wide), linear(wide))

    def forward(self, x: Tensor) -> Tensor:
        return last(self.forward_stages(x))

    def forward_stages(self, x: Tensor, call: Call = call) -> Stages:
        """Run the trunk and pause after each stage, as :mod:`tssbn.networks.stages` describes.

        The two linear layers are the fifth stage; they read the average over the image.

        Args:
            x: images, (B, 3, H, W).
            call: ``call(stage, x)`` runs a stage.
        """
        for stage in self.stages[:-1]:
            x = F.max_pool2d(call(stage, x), 2)
            x = read(x, (yield x))
        x = call(self.stages[-1], x).mean((2, 3))
        x = read(x, (yield x))
        yield call(self.linear, x)


def block(before: int, width: int) -> nn.Sequential:
    conv = nn.Conv2d(before, width, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


def linear(width: int) -> nn.Sequential:
    linear = nn.Linear(width, width, bias=False)
    return nn.Sequential(linear, nn.BatchNorm1d(width), nn.ReLU())
