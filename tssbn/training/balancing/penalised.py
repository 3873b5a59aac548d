"""Add a penalty of the network's own to what a balancing makes of the losses."""

from collections.abc import Mapping

from lightning_fabric import Fabric
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import Balancing
from tssbn.training.balancing.observer import Observer
from tssbn.training.processes import all_reduce_mean, differentiate

__all__ = ["Penalised"]


class Penalised(Observer):
    """Adds the gradient of ``net.penalty()`` to that which another balancing makes of the losses.

    The penalty is no task's loss: it is neither weighed against the losses nor projected away. With
    the plain sum, Σ_t L_t + penalty is what is minimised. It is differentiated by itself, once a
    step, on the graph of the last pass.

    Args:
        net: The network, with a method ``penalty``; see :class:`tssbn.MultiTaskNetwork`.
        balancing: The other; the plain sum by default.

    Attributes:
        value: The penalty of the last step.

    Raises:
        ValueError: A penalty is no scalar.

    Example:
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
        """The losses of a pass; of the last one before its graph is freed."""
        self.left -= losses.keys()
        if not self.left:
            value = self.penalty()
            if value.ndim:
                raise ValueError(f"penalty() must be a scalar, got shape {tuple(value.shape)}")
            self.value = value.detach()
            self.gradients = [None] * len(self.trained)
            if value.requires_grad:  # not where all that it is made of is frozen
                self.gradients = differentiate(fabric, value, self.trained)

    def finish(self, net: MultiTaskNetwork, fabric: Fabric) -> None:
        """The other's step, then the penalty's gradient, the mean of the processes'."""
        super().finish(net, fabric)
        self.left = set(net.tasks)
        all_reduce_mean(fabric, (g for g in self.gradients if g is not None))
        for p, g in zip(self.trained, self.gradients, strict=True):
            if g is not None:
                p.grad = g if p.grad is None else p.grad + g
