"""Ablations of TSσBN, which remove or replace one of its ingredients.

The ingredients are statistics of each task, a scale of each task, a bias of each task, the bound of
the scale, and the learning rate of the scale. TSσBN has all but the bias, and hard sharing none.
Domain-specific BatchNorm has all but the bound and the learning rate.
"""

import math
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.convert import task_specific
from tssbn.methods import Method, Network, one_group, task_norm
from tssbn.multitask import MultiTask
from tssbn.norm import TaskAffineNorm, TaskSigmoidNorm, TaskSpecificNorm
from tssbn.norm.converted import has_statistics

__all__ = [
    "Clamp",
    "Free",
    "SharedStatisticsNorm",
    "Softplus",
    "Tanh",
    "TaskStatisticsNorm",
    "affine",
    "build",
    "statistics",
]


class TaskStatisticsNorm(TaskSpecificNorm):
    """A norm layer with statistics for each task and a common scale and bias, ``y = γ·x̂_t + β``.

    ``weight`` and ``bias`` are those of the layer that was converted.

    Example:
        >>> layer = task_specific(nn.BatchNorm2d(3), ("seg", "depth"), TaskStatisticsNorm)
        >>> layer.running_mean.shape, layer.weight.shape
        (torch.Size([2, 3]), torch.Size([3]))
    """

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        return {}

    def weight_and_bias(self, rows: slice) -> tuple[Tensor | None, Tensor | None]:
        count = rows.stop - rows.start
        shared = ((self._parameters | self._buffers).get(name) for name in ("weight", "bias"))
        return tuple(None if v is None else v.expand(count, *v.shape) for v in shared)


class SharedStatisticsNorm(TaskSpecificNorm):
    """A norm layer with common statistics and a scale and bias for each task, ``y = γ_t·x̂ + β_t``.

    In training x̂ uses the statistics of all rows of the pass, whatever their task; there is one
    running mean and one running variance.

    Example:
        >>> layer = task_specific(nn.BatchNorm2d(3), ("seg", "depth"), SharedStatisticsNorm)
        >>> layer.running_mean.shape, layer.gamma.shape
        (torch.Size([3]), torch.Size([2, 3]))
    """

    per_task = ("gamma", "beta")
    start = TaskAffineNorm.start

    def scales(self, gamma: Tensor) -> Tensor:
        return gamma

    def forward(self, x: Tensor) -> Tensor:
        x = self.stack(self.unstack(x))  # after a shared stem this copies the rows for each task
        now = self.tasks.now
        host = self.host(now.rows, not now.recomputing)
        host._parameters |= {"weight": None, "bias": None}  # it only normalises
        y = self.unstack(self.host_type.forward(host, x))  # (B, t, C, ...)
        shape = (now.count, x.shape[1], *[1] * (x.ndim - 2))
        gamma, beta = (self.rows(v).reshape(shape).to(y.dtype) for v in (self.gamma, self.beta))
        return self.stack(y * gamma + beta)


def statistics(layer: nn.Module) -> type[TaskSpecificNorm] | None:
    """Choose the layer of the ablation that only has statistics for each task.

    Args:
        layer: a norm layer of the trunk.

    Returns:
        :class:`TaskStatisticsNorm`, or None where the layer has no running statistics.

    Example:
        >>> statistics(nn.BatchNorm2d(3)).__name__, statistics(nn.LayerNorm(3))
        ('TaskStatisticsNorm', None)
    """
    return TaskStatisticsNorm if has_statistics(layer) else None


def affine(layer: nn.Module) -> type[TaskSpecificNorm]:
    """Choose the layer of the ablation that only has a scale and a bias for each task.

    Args:
        layer: a norm layer of the trunk.

    Returns:
        :class:`SharedStatisticsNorm`, or :class:`tssbn.norm.TaskAffineNorm` where the layer has no
        running statistics.

    Raises:
        ValueError: the layer does more than normalise, such as one with a fused activation.

    Example:
        >>> affine(nn.BatchNorm2d(3)).__name__, affine(nn.LayerNorm(3)).__name__
        ('SharedStatisticsNorm', 'TaskAffineNorm')
    """
    if not has_statistics(layer):
        return TaskAffineNorm
    if not type(layer).__module__.startswith("torch.nn.modules."):
        raise ValueError(
            f"norm=affine cannot express a {type(layer).__name__}, which does more than "
            "normalise; use where= to leave it out"
        )
    return SharedStatisticsNorm


class _Scaled(TaskAffineNorm):
    """A scale that is a function of γ_t, which starts at `begin`; there is no bias."""

    begin: float

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        return {"gamma": torch.full_like(weight, cls.begin)}


class Tanh(_Scaled):
    """A layer ``y = tanh(γ_t)·x̂_t``, with a scale between -1 and 1.

    Example:
        >>> layer = task_specific(nn.BatchNorm2d(3), ("seg", "depth"), Tanh)
        >>> layer.scales(layer.gamma).detach()[0]
        tensor([0.5000, 0.5000, 0.5000])
    """

    begin = math.atanh(0.5)

    def scales(self, gamma: Tensor) -> Tensor:
        return gamma.tanh()


class Softplus(_Scaled):
    """A layer ``y = log(1 + exp γ_t)·x̂_t``, with a positive scale that has no upper bound.

    Example:
        >>> layer = task_specific(nn.BatchNorm2d(3), ("seg", "depth"), Softplus)
        >>> layer.scales(layer.gamma).detach()[0]
        tensor([0.5000, 0.5000, 0.5000])
    """

    begin = math.log(math.expm1(0.5))

    def scales(self, gamma: Tensor) -> Tensor:
        return F.softplus(gamma)


class Clamp(_Scaled):
    """A layer ``y = min(max(γ_t, 0), 1)·x̂_t``, with the bounds of σ and a slope of 1 between them.

    Example:
        >>> layer = task_specific(nn.BatchNorm2d(3), ("seg", "depth"), Clamp)
        >>> layer.scales(layer.gamma + 2).detach()[0]
        tensor([1., 1., 1.])
    """

    begin = 0.5

    def scales(self, gamma: Tensor) -> Tensor:
        return gamma.clamp(0, 1)


class Free(_Scaled):
    """A layer ``y = γ_t·x̂_t``, with a scale without bounds that starts at 1.

    Example:
        >>> layer = task_specific(nn.BatchNorm2d(3), ("seg", "depth"), Free)
        >>> layer.scales(layer.gamma).detach()[0]
        tensor([1., 1., 1.])
    """

    begin = 1.0


GATES = {
    "sigmoid": TaskSigmoidNorm,
    "tanh": Tanh,
    "softplus": Softplus,
    "clamp": Clamp,
    "none": Free,
}


def build(
    network: Network,
    outputs: Mapping[str, int],
    gate: str = "sigmoid",
    bias: bool = False,
) -> MultiTask:
    """Build a network of task-specific norm layers whose scale is a function of γ_t.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        gate: the function: ``"sigmoid"``, ``"tanh"``, ``"softplus"`` or ``"clamp"``, where the
            scale starts at 0.5, or ``"none"``, where it is γ_t and starts at 1 as in TSBN.
        bias: whether each task also has biases.

    Raises:
        ValueError: `gate` is none of these.

    Example:
        >>> example = torch.zeros(2, 3)
        >>> network = Network(lambda: nn.BatchNorm1d(3), lambda n: nn.Linear(3, n), example)
        >>> build(network, {"a": 1, "b": 2}, gate="tanh").trunk.gamma.shape
        torch.Size([2, 3])
    """
    if gate not in GATES:
        raise ValueError(f"gate={gate!r} is unknown, use one of {', '.join(GATES)}")
    affine = "paper" if gate == "sigmoid" else "auto"
    trunk = task_specific(network.trunk(), outputs, GATES[gate], affine)
    for layer in trunk.modules():
        if bias and isinstance(layer, TaskSpecificNorm):
            layer.beta = nn.Parameter(torch.zeros_like(layer.gamma))
    return task_norm.assembled(trunk, network, outputs)


def method(title: str, about: str, gate: str, bias: bool = False) -> Method:
    return Method(title, partial(build, gate=gate, bias=bias), task_norm.groups, about)


STATISTICS = Method(
    "statistics only",
    partial(task_norm.build, norm=statistics),
    one_group,
    "One trunk; each task has its own statistics, and all tasks share scale and bias.",
)
AFFINE = Method(
    "scale and bias only",
    partial(task_norm.build, norm=affine),
    partial(task_norm.groups, multiplier=1.0),
    "One trunk; each task has its own scale and bias, and all tasks share the statistics.",
)
TSBN_NO_BIAS = method(
    "TSBN without β",
    "TSBN with the learning rate of the gates and without a bias: the scale is γ.",
    "none",
)
TSSBN_BIAS = method("TSσBN with β", "TSσBN with a bias for each task.", "sigmoid", bias=True)
TANH = method(
    "tanh for σ", "TSσBN with tanh(γ) in place of σ(γ): a scale between -1 and 1.", "tanh"
)
SOFTPLUS = method(
    "softplus for σ",
    "TSσBN with log(1 + exp γ) in place of σ(γ): a positive scale without an upper bound.",
    "softplus",
)
CLAMP = method(
    "clamp for σ", "TSσBN with γ, clamped to between 0 and 1, in place of σ(γ).", "clamp"
)
