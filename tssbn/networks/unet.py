"""A small U-Net, whose decoder reads the encoder's features at every scale."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.networks.stages import Stages, last, read

__all__ = ["UNet", "block"]


class UNet(nn.Module):
    """A U-Net of four scales, each half the size of the finer one (Ronneberger et al., 1505.04597).

    Each scale of the encoder has two 3x3 convolutions; the first one halves the image by its
    stride, except at the finest scale. Each scale of the decoder has one, which reads the encoder's
    features of that scale and those of the coarser scale, enlarged by nearest-neighbour
    interpolation. BatchNorm and ReLU follow each of the eleven convolutions, which have no biases.
    A task's head is one 1x1 convolution.

    Args:
        width: channels of the finest scale; the others have 2, 4 and 6 times as many.

    Shape: (B, 3, H, W) -> (B, width, H, W), for any H and W.

    Attributes:
        down, up: the stages of encoder and decoder, in the order in which they run.
        width: the argument.

    Example:
        >>> UNet(width=4)(torch.zeros(2, 3, 30, 44)).shape
        torch.Size([2, 4, 30, 44])
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width, widths = width, (width, 2 * width, 4 * width, 6 * width)
        self.down = nn.ModuleList(
            nn.Sequential(block(before, after, stride), block(after, after))
            for before, after, stride in zip((3, *widths[:-1]), widths, (1, 2, 2, 2), strict=True)
        )
        self.up = nn.ModuleList(
            block(finer + coarser, finer)
            for finer, coarser in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return last(self.forward_stages(x))

    def forward_stages(self, x: Tensor) -> Stages:
        """Run the trunk and pause after each of seven stages, see :mod:`tssbn.networks.stages`.

        Features that are sent after a stage of the encoder also reach the decoder at that scale.

        Args:
            x: images, (B, 3, H, W).
        """
        scales = []
        for stage in self.down:
            x = stage(x)
            x = read(x, (yield x))
            scales.append(x)
        for place, stage in enumerate(self.up):
            finer = scales[-2 - place]
            x = stage(torch.cat([finer, F.interpolate(x, finer.shape[-2:])], 1))
            x = read(x, (yield x))


def block(before: int, width: int, stride: int = 1) -> nn.Sequential:
    """Make a 3x3 convolution with BatchNorm and ReLU.

    Args:
        before: channels that it reads.
        width: channels that it outputs.
        stride: of the convolution.

    Example:
        >>> block(3, 4, stride=2)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 4, 4, 4])
    """
    conv = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())
