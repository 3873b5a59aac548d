"""The module of MLoRE, with convolutions of each task around low-rank experts of all tasks."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.mixtures.convolution import TaskConv2d
from tssbn.mixtures.low_rank import ImageRouter, LowRankExperts
from tssbn.norm import TaskSpecificNorm
from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["LowRankMixture"]


class LowRankMixture(TaskSpecific):
    """MLoRE's mixture of low-rank convolutions of all tasks and of one task.

    (Yang et al., arXiv 2403.17749.) The task's convolution gives u = C1_t v, and its router the
    weights ρ and the number a. All tasks share the low-rank experts L_i and the full convolution G,
    which is trained but passes no gradient on to u. S_t is a low-rank convolution of the task.

        y = BN_t(Σ_i ρ_i L_i u) + a S_t u + G(u),        output C3_t GELU(BN'_t(y))

    In evaluation the kernels of all parts that are linear in u are added first, so that each image
    and task needs one 3x3 convolution. Call :func:`tssbn.task_specific` before the module runs; it
    makes the norm layers task-specific.

    Args:
        channels: channels of the map.
        positions: number of pixels of the map; no other size is accepted.
        ranks: ranks of the experts L.
        top: number of experts with a weight.
        own: rank of S.
        tasks: the tasks of the network.

    Shape: (B·t, channels, h, w) -> the same.

    Example:
        >>> import tssbn
        >>> tasks = tssbn.Tasks(("seg",))
        >>> mixture = LowRankMixture(8, positions=6, ranks=(2, 3), top=1, own=2, tasks=tasks)
        >>> mixture(torch.rand(3, 8, 2, 3)).shape
        torch.Size([3, 8, 2, 3])
    """

    def __init__(
        self,
        channels: int,
        positions: int,
        ranks: Sequence[int],
        top: int,
        own: int,
        tasks: Tasks,
    ):
        super().__init__()
        self.tasks = tasks
        self.first = TaskConv2d(channels, channels, 1, tasks)
        self.router = ImageRouter(channels, positions, len(ranks), top, tasks)
        self.experts = LowRankExperts(channels, ranks)
        self.norm = nn.BatchNorm2d(channels)
        self.own_down = TaskConv2d(channels, own, 3, tasks)
        self.own_up = TaskConv2d(own, channels, 1, tasks)
        self.general = nn.Conv2d(channels, channels, 3, padding=1)
        self.last_norm = nn.BatchNorm2d(channels)
        self.last = TaskConv2d(channels, channels, 1, tasks)

    def forward(self, v: Tensor) -> Tensor:
        u = self.first(v)
        weights, share = self.router(u)
        y = (self.branches if self.training else self.folded)(u, weights, share)
        return self.last(F.gelu(self.last_norm(y)))

    def branches(self, u: Tensor, weights: Tensor, share: Tensor) -> Tensor:
        """Compute y as the sum of its branches, as in training.

        Args:
            u: (B·t, channels, h, w).
            weights: ρ, (B·t, E).
            share: a, (B·t, 1).
        """
        mixed = self.norm(self.experts(u, weights))
        own = self.own_up(self.own_down(u))
        return mixed + share[..., None, None] * own + self.general(u.detach())

    def folded(self, u: Tensor, weights: Tensor, share: Tensor) -> Tensor:
        """Compute the same y in evaluation, by one convolution for each image and task.

        Args:
            u, weights, share: as for `branches`.
        """
        kernels, biases = self.experts.kernels()
        weights, share = self.unstack(weights).to(kernels), self.unstack(share)
        scale, shift = self._affine()
        own, own_bias = self._own()
        kernel = scale[..., None, None, None] * torch.tensordot(weights, kernels, 1)
        kernel = kernel + share[..., None, None, None] * own + self.general.weight
        bias = scale * (weights @ biases) + shift + share * own_bias + self.general.bias
        kernel, bias, rows = kernel.flatten(0, 2), bias.flatten(), len(u)
        y = F.conv2d(u.flatten(0, 1)[None], kernel, bias, padding=1, groups=rows)
        return y[0].unflatten(0, (rows, -1))

    def _affine(self) -> tuple[Tensor, Tensor]:
        """Compute scale and shift of BN_t in evaluation, (t, channels) each."""
        norm, values = self.norm, (self.norm.running_mean, self.norm.running_var)
        if isinstance(norm, TaskSpecificNorm):
            mean, var = map(self.rows, values)
            weight, bias = norm.weight_and_bias(self.tasks.now.rows)
        else:  # an exported network of a single task
            mean, var, weight, bias = (v[None] for v in (*values, norm.weight, norm.bias))
        scale = weight * (var + norm.eps).rsqrt()
        return scale, bias - mean * scale

    def _own(self) -> tuple[Tensor, Tensor]:
        """Compute kernels (t, channels, channels, 3, 3) and biases (t, channels) of S_t."""
        down, up = self.own_down, self.own_up
        back = self.rows(up.weight)[..., 0, 0]
        kernel = torch.einsum("tor,trixy->toixy", back, self.rows(down.weight))
        bias = torch.einsum("tor,tr->to", back, self.rows(down.bias)) + self.rows(up.bias)
        return kernel, bias
