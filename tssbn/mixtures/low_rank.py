"""Convolutions of low rank: experts that sum to one convolution, and routers of whole images."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.mixtures.convolution import TaskConv2d
from tssbn.mixtures.routing import Routed, Routes, keep_top
from tssbn.tasks import Tasks

__all__ = ["ImageRouter", "LowRankExperts"]


class LowRankExperts(nn.Module):
    """Experts that are a 3x3 convolution to few channels, and a 1x1 convolution back; their sum.

    Expert i is L_i u = M_i (W_i u + w_i) + m_i. All are computed at once, as one convolution to the
    channels of all of them, which the weights scale. Each starts as PyTorch's convolutions do.

    Args:
        channels: of the map.
        ranks: of each expert, the channels between its two convolutions.

    Shape: (R, channels, h, w), and weights (R, E) -> (R, channels, h, w).

    Example:
        >>> experts = LowRankExperts(8, ranks=(2, 3))
        >>> experts(torch.rand(4, 8, 5, 6), torch.rand(4, 2)).shape
        torch.Size([4, 8, 5, 6])
    """

    def __init__(self, channels: int, ranks: Sequence[int]):
        super().__init__()
        self.ranks = tuple(ranks)
        self.down = nn.Conv2d(channels, sum(ranks), 3, padding=1)
        parts = [torch.empty(channels, r).uniform_(-(r**-0.5), r**-0.5) for r in ranks]
        biases = [torch.empty(channels).uniform_(-(r**-0.5), r**-0.5) for r in ranks]
        self.up = nn.Parameter(torch.cat(parts, 1))
        self.bias = nn.Parameter(torch.stack(biases))

    def forward(self, u: Tensor, weights: Tensor) -> Tensor:
        weights = weights.to(u.dtype)
        scales = torch.cat(
            [w.expand(-1, r) for w, r in zip(weights.split(1, 1), self.ranks, strict=True)], 1
        )
        between = self.down(u) * scales[:, :, None, None]
        return F.conv2d(between, self.up[:, :, None, None]) + (weights @ self.bias)[..., None, None]

    def kernels(self) -> tuple[Tensor, Tensor]:
        """Compute the 3x3 convolution equivalent to each expert.

        Returns:
            Kernels (E, channels, channels, 3, 3), and biases (E, channels).
        """
        downs = self.down.weight.split(self.ranks), self.down.bias.split(self.ranks)
        parts = zip(self.up.split(self.ranks, 1), *downs, self.bias, strict=True)
        each = [
            (torch.tensordot(up, down, 1), up @ within + bias) for up, down, within, bias in parts
        ]
        kernels, biases = zip(*each, strict=True)
        return torch.stack(kernels), torch.stack(biases)


class ImageRouter(Routed):
    """Weighs experts for a whole image, from its channels and from where in it things are.

    Two vectors of a quarter of the channels are made of the map. The first is the mean over the
    pixels of 1x1 convolution, LayerNorm, GELU and 1x1 convolution. For the second, a linear layer
    of all positions, the same for each channel, leaves one number of each; LayerNorm, GELU and a
    linear layer follow. From both, a linear layer computes mean and spread of the logit of each
    expert, and one number more. In training the logits are ``mean + spread · N(0, 1)``. Of their
    softmax the largest are kept, and not scaled to sum to 1.

    Norm layers in it are made the tasks' own by :func:`tssbn.task_specific`.

    Args:
        channels: of the map.
        positions: how many pixels it has; it takes no other size.
        experts: how many there are.
        top: how many of the weights are kept.
        tasks: those of the network.

    Shape: (B·t, channels, h, w) -> weights (B·t, E), and the number (B·t, 1).
    """

    def __init__(self, channels: int, positions: int, experts: int, top: int, tasks: Tasks):
        super().__init__()
        self.tasks, self.top = tasks, top
        few = channels // 4
        self.first = TaskConv2d(channels, few, 1, tasks)
        self.first_norm = nn.LayerNorm(few)
        self.second = TaskConv2d(few, few, 1, tasks)
        self.place = TaskConv2d(positions, 1, 1, tasks)
        self.place_norm = nn.LayerNorm(channels)
        self.shrink = TaskConv2d(channels, few, 1, tasks)
        self.last = TaskConv2d(2 * few, 2 * experts + 1, 1, tasks)

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.first_norm(self.first(u).flatten(2).transpose(1, 2))
        map_again = F.gelu(tokens).transpose(1, 2).unflatten(2, u.shape[2:])
        pooled = self.second(map_again).mean((2, 3), keepdim=True)
        placed = self.place(u.flatten(2).transpose(1, 2)[..., None]).flatten(1)
        placed = self.shrink(F.gelu(self.place_norm(placed))[..., None, None])
        numbers = self.last(torch.cat([pooled, placed], 1)).flatten(1)
        mean, spread = numbers[:, :-1].chunk(2, 1)
        logits = mean + spread * torch.randn_like(mean) if self.training else mean
        probabilities = logits.softmax(1)
        weights = keep_top(probabilities, self.top)
        self.routes = Routes(*(self.unstack(v)[:, :, None] for v in (probabilities, weights)))
        return weights, numbers[:, -1:]
