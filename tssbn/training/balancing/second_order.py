"""Balancings that add a penalty on the tasks' gradients, whose gradient is of second order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.gradients import stack_rows
from tssbn.training.balancing.base import Balancing, refuse_float16
from tssbn.training.processes import differentiate, mean_value

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["SecondOrder", "shared_within"]


def shared_within(net: MultiTaskNetwork, layer: str) -> list[nn.Parameter]:
    """Return the trained parameters that the tasks share within one module of the network.

    Args:
        net: the network.
        layer: the name of the module; "" for the whole network.

    Raises:
        ValueError: there is no such module, or it has no shared trained parameter.

    Example:
        >>> import tssbn
        >>> trunk = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4, bias=False))
        >>> net = tssbn.MultiTask(trunk, {"a": nn.ReLU(), "b": nn.ReLU()})
        >>> [tuple(p.shape) for p in shared_within(net, "trunk.1")], len(shared_within(net, ""))
        ([(4, 3)], 3)
    """
    modules = dict(net.named_modules())
    if layer not in modules:
        raise ValueError(f"layer={layer!r} names no module of {type(net).__name__}")
    within = {id(p) for p in modules[layer].parameters() if p.requires_grad}
    found = [p for p in net.shared() if id(p) in within]
    if not found:
        raise ValueError(
            f"layer={layer!r} of {type(net).__name__} has no trained parameter that its tasks "
            "share: there are no gradients to compare"
        )
    return found


class SecondOrder(Balancing):
    """Minimise Σ_t L_t + α R(g_1, ..., g_T), where g_t = ∂L_t/∂θ for shared parameters θ.

    Keeps the losses of all tasks in one graph and differentiates it twice, which needs the memory
    for all tasks and their gradients at once. With several processes, R uses the gradients averaged
    over the processes.

    Args:
        net: the network.
        penalty: R, which maps the gradients (T, P) to a scalar, differentiably.
        alpha: the weight α, 0 or more.
        layer: the name of the module that contains θ, such as the last shared layer; by default
            θ is all shared parameters, which is the most expensive choice.

    Raises:
        ValueError: `alpha` is negative or not finite, there is no such layer, or the tasks share no
            trained parameter in it.

    Example:
        >>> from lightning_fabric import Fabric
        >>> import torch, tssbn
        >>> heads = {"a": torch.nn.ReLU(), "b": torch.nn.ReLU()}
        >>> net = tssbn.MultiTask(torch.nn.Linear(2, 1, bias=False), heads)
        >>> squares = SecondOrder(net, lambda gradients: gradients.square().sum(), alpha=0.5)
        >>> fabric, w = Fabric(accelerator="cpu", devices=1), net.trunk.weight
        >>> with torch.no_grad():
        ...     _ = w.copy_(torch.tensor([[3.0, 4.0]]))
        >>> squares.backward(net, {"a": w.square().sum() / 2, "b": w.sum()}, fabric)
        >>> w.grad  # w + 1, and 0.5 times the gradient 2w of |w|² + 2
        tensor([[7., 9.]])
    """

    all_tasks_at_once = True

    def __init__(
        self,
        net: MultiTaskNetwork,
        penalty: Callable[[Tensor], Tensor],
        alpha: float = 1.0,
        layer: str = "",
    ):
        super().__init__()
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha={alpha} must be 0 or more, and finite")
        self.penalised = shared_within(net, layer)
        self.penalty, self.alpha = penalty, alpha

    def check(self, precision: str, compile: bool) -> None:
        """Raise an error for float16, in which small gradients vanish, and for torch.compile.

        Args:
            precision, compile: see :func:`~tssbn.training.loop.train`.

        Raises:
            ValueError: the precision is ``"16"``, or the network is compiled.
        """
        refuse_float16(precision, "loses the small gradients that the penalty is made of")
        if compile:
            raise ValueError("compile=True: torch.compile gives no gradients of gradients")

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Compute the gradients of sum and penalty."""
        rows = [
            differentiate(fabric, loss, self.penalised, create_graph=True)
            for loss in losses.values()
        ]
        gradients = mean_value(fabric, stack_rows(rows, self.penalised))
        penalty = self.penalty(gradients)
        fabric.backward(sum(losses.values()) + self.alpha * penalty)
