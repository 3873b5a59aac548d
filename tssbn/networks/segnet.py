"""SegNet, as the multi-task papers train it on NYUv2 (Liu et al., MTAN, arXiv 1803.10704)."""

import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.networks.stages import Call, Stages, call, last, read

__all__ = ["SegNet", "SegNetHead"]


class SegNet(nn.Module):
    """An encoder like VGG-16 and a decoder that mirrors it, without the heads of the tasks.

    The encoder has five stages of 2, 2, 3, 3 and 3 blocks (3x3 convolution, BatchNorm, ReLU), each
    followed by a 2x2 max-pooling. The decoder puts every value back at the pixel that the pooling
    took it from. At full width there are 26 BatchNorm layers with 7,168 channels. Weights are drawn
    Xavier-normal, biases start at 0.

    Args:
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.

    Shape: (B, 3, H, W) -> (B, width, H, W) with H, W >= 32.

    Attributes:
        encoder: the five stages, from fine to coarse; a pooling follows each.
        decoder: the stages that mirror them, in the same order; they run from last to first.

    Example:
        >>> import torch
        >>> SegNet(width=4)(torch.zeros(2, 3, 48, 64)).shape
        torch.Size([2, 4, 48, 64])
    """

    def __init__(self, width: int = 64):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        before, blocks = [3, *widths[:-1]], [2, 2, 3, 3, 3]
        after = [width, *widths[:-1]]
        self.encoder = nn.ModuleList(
            nn.Sequential(block(b, w), *(block(w, w) for _ in range(n - 1)))
            for b, w, n in zip(before, widths, blocks, strict=True)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(block(w, a), *(block(a, a) for _ in range(n - 1)))
            for w, a, n in zip(widths, after, blocks, strict=True)
        )
        start(self)

    def forward(self, x: Tensor) -> Tensor:
        return last(self.forward_stages(x))

    def forward_stages(self, x: Tensor, call: Call = call) -> Stages:
        """Run the trunk and pause after each stage, as :mod:`tssbn.networks.stages` describes.

        Features of the encoder are yielded after the pooling.

        Args:
            x: images, (B, 3, H, W).
            call: ``call(stage, x)`` runs a stage.
        """
        pooled = []
        for stage in self.encoder:
            fine = call(stage, x)
            x, indices = F.max_pool2d(fine, 2, return_indices=True)
            pooled.append((indices, fine.shape))
            x = read(x, (yield x))
        for stage in reversed(self.decoder):
            x = call(stage, unpool(x, *pooled.pop()))
            x = read(x, (yield x))


class SegNetHead(nn.Sequential):
    """A head that predicts one task by a 3x3 and a 1x1 convolution, with nothing between them.

    Args:
        outputs: channels of the prediction.
        width: channels of the features.

    Shape: (B, width, H, W) -> (B, outputs, H, W).

    Example:
        >>> import torch
        >>> SegNetHead(13, width=4)(torch.zeros(2, 4, 48, 64)).shape
        torch.Size([2, 13, 48, 64])
    """

    def __init__(self, outputs: int, width: int = 64):
        super().__init__(nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, outputs, 1))
        start(self)


def unpool(x: Tensor, indices: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Put pooled values back at the pixels they came from, with zeros elsewhere."""
    return F.max_unpool2d(x, indices, 2, output_size=shape[-2:])


def block(before: int, width: int) -> nn.Sequential:
    conv = nn.Conv2d(before, width, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


def start(network: nn.Module) -> None:
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.xavier_normal_(part.weight)
            nn.init.zeros_(part.bias)
