"""Balancings that minimise one function of all losses, which may have trained parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import Balancing
from tssbn.training.balancing.logarithm import check_positive
from tssbn.training.processes import mean_value

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Scalarised"]


class Scalarised(Balancing):
    """Minimise S(L_1, ..., L_T), so that the gradient of task t is multiplied by ∂S/∂L_t.

    Keeps the losses of all tasks in one graph, which needs the memory for all tasks at once. With
    several processes, S uses the losses averaged over the processes.

    Args:
        scalariser: maps the losses (T,), in the order of the network's tasks, to a scalar, such as
            those of ``torchjd.scalarization``; a module if it has parameters or state. None in a
            subclass that overrides `scalarise`.
        lr: learning rate of its parameters; that of the network if None.
        positive: whether S contains logarithms, so that no loss may be negative.

    Raises:
        ValueError: `lr` is not positive, or `positive` is True and a loss is negative.

    Example:
        >>> from lightning_fabric import Fabric
        >>> import tssbn
        >>> heads = {"a": torch.nn.Linear(2, 1), "b": torch.nn.Linear(2, 1)}
        >>> net = tssbn.MultiTask(torch.nn.Identity(), heads)
        >>> x, fabric = torch.tensor([[1.0, 2.0]]), Fabric(accelerator="cpu", devices=1)
        >>> losses = {task: y.sum().exp() for task, y in net(x).items()}
        >>> Scalarised(lambda losses: losses.log().sum()).backward(net, losses, fabric)
        >>> heads["a"].weight.grad
        tensor([[1., 2.]])
    """

    all_tasks_at_once = True

    def __init__(
        self,
        scalariser: Callable[[Tensor], Tensor] | None = None,
        lr: float | None = None,
        positive: bool = False,
    ):
        super().__init__()
        if lr is not None and not lr > 0:
            raise ValueError(f"lr={lr} must be positive, or None for that of the network")
        self.scalariser, self.lr, self.positive = scalariser, lr, positive

    def scalarise(self, losses: Tensor) -> Tensor:
        """Compute S.

        Args:
            losses: (T,), in the order of the network's tasks.
        """
        return self.scalariser(losses)

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Compute the gradients of S."""
        if self.positive:
            check_positive(losses)
        values = torch.stack(list(losses.values()))
        fabric.backward(self.scalarise(mean_value(fabric, values)))
