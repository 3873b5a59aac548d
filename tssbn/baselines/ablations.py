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

from tssbn.baselines import Method, Network, one_group, task_norm
from tssbn.convert import task_specific
from tssbn.multitask import MultiTask
from tssbn.norm import TaskAffineNorm, TaskSigmoidNorm, converted_class

__all__ = ["Clamp", "Softplus", "Tanh", "build"]


class Tanh(TaskAffineNorm):
    """``y = tanh(γ_t)·x̂_t``, a scale between -1 and 1."""

    @property
    def weight(self) -> Tensor:
        return torch.tanh(self._now(self.gamma))


class Softplus(TaskAffineNorm):
    """``y = log(1 + exp γ_t)·x̂_t``, a scale that is positive, without an upper bound."""

    @property
    def weight(self) -> Tensor:
        return F.softplus(self._now(self.gamma))


class Clamp(TaskAffineNorm):
    """``y = min(max(γ_t, 0), 1)·x̂_t``, the bounds of the gate without its slope near them."""

    @property
    def weight(self) -> Tensor:
        return self._now(self.gamma).clamp(0, 1)


GATES = {  # the layer, and the γ that it starts from
    "sigmoid": (TaskSigmoidNorm, 0.0),
    "tanh": (Tanh, math.atanh(0.5)),
    "softplus": (Softplus, math.log(math.expm1(0.5))),
    "clamp": (Clamp, 0.5),
    "none": (TaskAffineNorm, 1.0),
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
    form, start = GATES[gate]
    trunk = task_specific(network.trunk(), outputs, norm="plain")
    for layer in trunk.modules():
        if isinstance(layer, TaskAffineNorm):
            host = type(layer).__bases__[1]
            layer.__class__ = converted_class(form, host)
            nn.init.constant_(layer.gamma, start)
            if not bias:
                layer.register_parameter("beta", None)
    return task_norm.assembled(trunk, network, outputs)


def method(title: str, about: str, gate: str, bias: bool = False) -> Method:
    return Method(title, partial(build, gate=gate, bias=bias), task_norm.groups, about)


METHODS = {
    "statistics": Method(
        "statistics only",
        partial(task_norm.build, norm="statistics"),
        one_group,
        "One trunk; each task has statistics of its own, scale and bias are shared.",
    ),
    "affine": Method(
        "scale and bias only",
        partial(task_norm.build, norm="affine"),
        partial(task_norm.groups, multiplier=1.0),
        "One trunk; each task has a scale and a bias of its own, the statistics are shared.",
    ),
    "tsbn-no-bias": method(
        "TSBN without β", "TSBN at the rate of the gates, without bias: the scale is γ.", "none"
    ),
    "tssbn-bias": method("TSσBN with β", "TSσBN with biases for each task.", "sigmoid", bias=True),
    "tanh": method("tanh for σ", "TSσBN with tanh(γ) for σ(γ), a scale between -1 and 1.", "tanh"),
    "softplus": method(
        "softplus for σ",
        "TSσBN with log(1 + exp γ) for σ(γ), positive and without an upper bound.",
        "softplus",
    ),
    "clamp": method("clamp for σ", "TSσBN with γ cut off at 0 and 1 for σ(γ).", "clamp"),
}
