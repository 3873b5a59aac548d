"""A balancing that adds a penalty of the network to the losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import Balancing
from tssbn.training.balancing.observer import Observer
from tssbn.training.processes import all_reduce_mean, differentiate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Penalised"]


class Penalised(Observer):
    """A balancing that adds the gradient of ``net.penalty()`` to those of another balancing.

    The penalty belongs to no task: the other balancing neither weighs nor projects its gradient.
    With the plain sum the network minimises Σ_t L_t + penalty. The penalty is differentiated
    separately, once a step, on the graph of the last pass.

    Args:
        net: the network, with a method ``penalty``; see :class:`tssbn.MultiTaskNetwork`.
        balancing: the other balancing; the plain sum by default.

    Attributes:
        value: the penalty of the last step.

    Raises:
        ValueError: a penalty is no scalar.

    Example:
        >>> from lightning_fabric import Fabric
        >>> import torch, tssbn
        >>> net = tssbn.MultiTask(torch.nn.Linear(2, 1, bias=False), {"a": torch.nn.Identity()})
        >>> w, fabric = net.trunk.weight, Fabric(accelerator="cpu", devices=1)
        >>> net.penalty = lambda: w.square().sum() / 2
        >>> penalised = Penalised(net)
        >>> penalised.backward(net, {"a": 0 * w.sum()}, fabric)
        >>> penalised.finish(net, fabric)
        >>> torch.equal(w.grad, w)
        True
    """

    def __init__(self, net: MultiTaskNetwork, balancing: Balancing | None = None):
        super().__init__(balancing)
        self.penalty, self.left = net.penalty, set(net.tasks)
        self.trained = [p for p in net.parameters() if p.requires_grad]

    def see(self, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Differentiate the penalty in the last pass of a step, before its graph is freed.

        Args:
            losses: the losses of the tasks in this pass.
            fabric: has the precision and the other processes.

        Raises:
            ValueError: the penalty is no scalar.
        """
        self.left -= losses.keys()
        if not self.left:
            value = self.penalty()
            if value.ndim:
                raise ValueError(f"penalty() must be a scalar, got shape {tuple(value.shape)}")
            self.value = value.detach()
            self.gradients = [None] * len(self.trained)
            if value.requires_grad:  # not if all that it depends on is frozen
                self.gradients = differentiate(fabric, value, self.trained)

    def finish(self, net: MultiTaskNetwork, fabric: Fabric) -> None:
        """Finish the other balancing's gradients, and add the penalty's, averaged over processes.

        Args:
            net: the network.
            fabric: has the other processes.
        """
        super().finish(net, fabric)
        self.left = set(net.tasks)
        all_reduce_mean(fabric, (g for g in self.gradients if g is not None))
        for p, g in zip(self.trained, self.gradients, strict=True):
            if g is not None:
                p.grad = g if p.grad is None else p.grad + g
