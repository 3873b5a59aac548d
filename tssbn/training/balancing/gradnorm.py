"""GradNorm: weights are trained so that tasks that learn equally fast have equally long gradients.

Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask
Networks", ICML 2018.

A gradient of the layer for each task, and a backward pass: the graphs of all tasks are in memory at
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import Balancing, refuse_float16
from tssbn.training.balancing.logarithm import EPSILON
from tssbn.training.balancing.rows import gramian
from tssbn.training.balancing.second_order import shared_within
from tssbn.training.processes import all_reduce_mean, differentiate, mean_value

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["GradNorm", "balancing"]

LEAST = 1e-3  # the smallest weight


class GradNorm(Balancing):
    """The sum Σ_t w_t L_t with trained weights w, which start at 1 and sum to T.

    With the lengths n_t = w_t ‖∂L_t/∂θ‖ and the rates r_t = (L_t / L_t(0)) / mean_s(L_s / L_s(0)),
    w minimises ``Σ_t |n_t - n̄ r_t^α|`` by gradient descent, where n̄ r_t^α is held constant. The
    weight of a task rises while it learns more slowly than the others, or its gradient is shorter.

    Args:
        net: the network.
        alpha: α; a larger one slows fast tasks down more.
        layer: the name of the module that contains θ; in the paper the last shared layer, by
            default all shared parameters, the most expensive choice.
        lr: learning rate of w; that of the network if None.

    Raises:
        ValueError: `lr` is not positive, there is no such `layer`, or the tasks share no parameter
            (of it) that is trained.

    Example:
        >>> from lightning_fabric import Fabric
        >>> import tssbn
        >>> heads = {"a": nn.Identity(), "b": nn.Identity()}
        >>> net = tssbn.MultiTask(nn.Linear(1, 1, bias=False), heads)
        >>> gradnorm, fabric = GradNorm(net, lr=0.1), Fabric(accelerator="cpu", devices=1)
        >>> w = net.trunk.weight.sum()
        >>> gradnorm.backward(net, {"a": 5 + 3 * w, "b": 5 + w}, fabric)
        >>> gradnorm.weights.grad  # less for the longer gradient
        tensor([ 3., -1.])
    """

    all_tasks_at_once = True

    def __init__(
        self,
        net: MultiTaskNetwork,
        alpha: float = 1.5,
        layer: str = "",
        lr: float | None = 0.025,
    ):
        super().__init__()
        if lr is not None and not lr > 0:
            raise ValueError(f"lr={lr} must be positive, or None for that of the network")
        self.alpha, self.lr, self.compared = alpha, lr, shared_within(net, layer)
        self.weights = nn.Parameter(torch.ones(len(net.tasks)))
        self.register_buffer("first", torch.zeros(len(net.tasks)))  # the losses of the first step

    def check(self, precision: str, compile: bool) -> None:
        """Raise an error for float16, whose scaled gradients may overflow and then have no length.

        Args:
            precision, compile: see :func:`~tssbn.training.loop.train`.

        Raises:
            ValueError: the precision is ``"16"``.
        """
        why = "scales the losses until a gradient overflows, which then has no finite length"
        refuse_float16(precision, why)

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Compute the gradients of the weighted sum, and those of the weights."""
        rows = [differentiate(fabric, loss, self.compared) for loss in losses.values()]
        all_reduce_mean(fabric, (g for row in rows for g in row if g is not None))
        norms = gramian(rows).diagonal().sqrt().to(self.weights)
        values = torch.stack(list(losses.values()))
        fabric.backward((self.weights.detach() * values).sum())
        self.weights.grad = self._slopes(norms, mean_value(fabric, values.detach()))

    @torch.no_grad()
    def _slopes(self, norms: Tensor, losses: Tensor) -> Tensor:
        if not self.first.any():
            self.first.copy_(losses)
        rates = (losses.to(self.first) + EPSILON) / (self.first + EPSILON)
        lengths = self.weights * norms
        return (lengths - lengths.mean() * (rates / rates.mean()) ** self.alpha).sign() * norms

    @torch.no_grad()
    def after_step(self, losses: Callable[[], Mapping[str, Tensor]], fabric: Fabric) -> None:
        """Clamp the weights to be positive, and scale them to the sum T.

        Args:
            losses, fabric: unused.
        """
        self.weights.clamp_(min=LEAST)
        self.weights *= len(self.weights) / self.weights.sum()


def balancing(
    net: MultiTaskNetwork, alpha: float = 1.5, layer: str = "", lr: float = 0.025
) -> GradNorm:
    """Make GradNorm, see :class:`GradNorm`.

    Args:
        net: the network.
        alpha: α; 1.5 in the paper for NYUv2.
        layer: the name of the module that contains θ.
        lr: learning rate of the weights, that of the paper; the schedule of the network applies.

    Raises:
        ValueError: `lr` is not positive, there is no such layer, or the tasks share no trained
            parameter in it.

    Example:
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("gradnorm", torch.zeros(2), losses).step()  # both weights are 1 at first
        tensor([1., 2.])
    """
    return GradNorm(net, alpha, layer, lr)
