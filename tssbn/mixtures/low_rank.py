"""Experts that are convolutions of low rank, and the router that weighs them for an image."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.mixtures.convolution import TaskConv2d
from tssbn.mixtures.routing import Routed, Routes, keep_top
from tssbn.tasks import Tasks

__all__ = ["ImageRouter", "LowRankExperts"]


class LowRankExperts(nn.Module):
    """A weighted sum of experts, each a 3x3 convolution to few channels and a 1x1 convolution back.

    Expert i is L_i u = M_i (W_i u + w_i) + m_i. The 3x3 convolutions of all experts run as one; the
    weights then scale the channels of each expert. Each convolution is initialised as in PyTorch.

    Args:
        channels: channels of the map.
        ranks: for each expert the channels between its two convolutions.

    Shape: u (R, channels, h, w) and weights (R, E) -> (R, channels, h, w).

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
        """Compute the 3x3 convolution that each expert is equal to.

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
    """MLoRE's router, which weighs experts for a whole image (Yang et al., arXiv 2403.17749).

    It computes two vectors of a quarter of the channels. The first passes the map through a 1x1
    convolution, LayerNorm, GELU and a 1x1 convolution, and takes the mean over the pixels. The
    second reduces each channel to one number by a linear layer over all positions, the same for all
    channels; LayerNorm, GELU and a linear layer follow. A linear layer of both vectors computes a
    mean and a spread for the logit of each expert, and one further number a. In training the logits
    are ``mean + spread · N(0, 1)``, in evaluation they are the means. The largest weights of their
    softmax are kept, without scaling them to sum to 1.

    :func:`tssbn.task_specific` makes its LayerNorm layers task-specific.

    Args:
        channels: channels of the map.
        positions: number of pixels of the map; no other size is accepted.
        experts: number of experts.
        top: number of weights that are kept.
        tasks: the tasks of the network.

    Shape: (B·t, channels, h, w) -> weights (B·t, E), and a (B·t, 1).

    Example:
        >>> import tssbn
        >>> router = ImageRouter(8, positions=6, experts=4, top=2, tasks=tssbn.Tasks(("seg",)))
        >>> weights, share = router(torch.rand(3, 8, 2, 3))
        >>> (weights > 0).sum(1), share.shape
        (tensor([2, 2, 2]), torch.Size([3, 1]))
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
