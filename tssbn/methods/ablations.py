"""TSσBN with an ingredient taken away or exchanged: what does each of them buy?

Statistics of its own for each task, a scale of its own, a bias, the bound of the scale, the
learning rate of the scale: TSσBN has all but the bias, hard sharing none. (The first two are what
reviewers of arXiv 2512.20420 asked for; domain-specific BatchNorm has all but the bound and
the rate.)
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
    """Statistics for each task, scale and bias shared: ``y = γ·x̂_t + β``.

    What do statistics alone buy? ``weight`` and ``bias`` stay the host's.
    """

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        return {}

    def weight_and_bias(self, rows: slice) -> tuple[Tensor | None, Tensor | None]:
        count = rows.stop - rows.start
        shared = ((self._parameters | self._buffers).get(name) for name in ("weight", "bias"))
        return tuple(None if v is None else v.expand(count, *v.shape) for v in shared)


class SharedStatisticsNorm(TaskSpecificNorm):
    """Scale and bias for each task, statistics shared by all: ``y = γ_t·x̂ + β_t``.

    In training x̂ comes from the statistics of all rows of the pass, whatever their task; there is
    one running mean and one variance. The other half of the ablation.
    """

    per_task = ("gamma", "beta")
    start = TaskAffineNorm.start

    def scales(self, gamma: Tensor) -> Tensor:
        return gamma

    def forward(self, x: Tensor) -> Tensor:
        x = self.stack(self.unstack(x))  # in a stem the tasks part here
        now = self.tasks.now
        host = self.host(now.rows, not now.recomputing)
        host._parameters |= {"weight": None, "bias": None}  # it only normalises
        y = self.unstack(self.host_type.forward(host, x))  # (B, t, C, ...)
        shape = (now.count, x.shape[1], *[1] * (x.ndim - 2))
        gamma, beta = (self.rows(v).reshape(shape).to(y.dtype) for v in (self.gamma, self.beta))
        return self.stack(y * gamma + beta)


def statistics(layer: nn.Module) -> type[TaskSpecificNorm] | None:
    """Only statistics for each task; layers without any stay as they are."""
    return TaskStatisticsNorm if has_statistics(layer) else None


def affine(layer: nn.Module) -> type[TaskSpecificNorm]:
    """Only a scale and a bias for each task; layers without statistics become plain.

    Raises:
        ValueError: The layer does more than normalise, as fused ones do.
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
    """A scale that is a function of γ_t; every γ_t starts at `begin`, without a bias."""

    begin: float

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        return {"gamma": torch.full_like(weight, cls.begin)}


class Tanh(_Scaled):
    """``y = tanh(γ_t)·x̂_t``, a scale between -1 and 1."""

    begin = math.atanh(0.5)

    def scales(self, gamma: Tensor) -> Tensor:
        return gamma.tanh()


class Softplus(_Scaled):
    """``y = log(1 + exp γ_t)·x̂_t``, a scale that is positive, without an upper bound."""

    begin = math.log(math.expm1(0.5))

    def scales(self, gamma: Tensor) -> Tensor:
        return F.softplus(gamma)


class Clamp(_Scaled):
    """``y = min(max(γ_t, 0), 1)·x̂_t``, the bounds of the gate without its slope near them."""

    begin = 0.5

    def scales(self, gamma: Tensor) -> Tensor:
        return gamma.clamp(0, 1)


class Free(_Scaled):
    """``y = γ_t·x̂_t``, a scale without bounds that begins at 1."""

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
    """A network of task-specific layers whose scale is a function of γ_t.

    Args:
        gate: the function, which starts at 0.5: ``"sigmoid"``, ``"tanh"``, ``"softplus"``,
            ``"clamp"``; or ``"none"``, where the scale is γ_t itself and starts at 1, as in TSBN.
        bias: whether each task has biases, too.
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
