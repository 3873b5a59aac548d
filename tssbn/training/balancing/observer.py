"""The base class of measurements during training, which leave the step to another balancing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import Balancing

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Observer"]


class Observer(Balancing):
    """A balancing that reads the losses of a step, and passes them to another balancing unchanged.

    Args:
        balancing: the other balancing; the plain sum by default.

    Example:
        >>> from lightning_fabric import Fabric
        >>> import torch
        >>> class Count(Observer):
        ...     seen = 0
        ...
        ...     def see(self, losses, fabric):
        ...         self.seen += len(losses)
        >>> count = Count()
        >>> loss = torch.ones((), requires_grad=True) * 2
        >>> count.backward(None, {"a": loss}, Fabric(accelerator="cpu", devices=1))
        >>> count.seen
        1
    """

    def __init__(self, balancing: Balancing | None = None):
        super().__init__()
        self.balancing = Balancing() if balancing is None else balancing

    def see(self, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Read the losses of a pass before the backward pass; keep their graph.

        Args:
            losses: the losses of the tasks in this pass.
            fabric: has the precision and the other processes.
        """

    def step(self) -> None:
        """Finish a measurement, after the losses of all tasks were read."""

    def passes(self, net: MultiTaskNetwork) -> Iterator[tuple[str, ...]]:
        """Yield the groups of tasks of the other balancing."""
        return self.balancing.passes(net)

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Read the losses before the other balancing's backward pass frees their graph."""
        self.see(losses, fabric)
        self.balancing.backward(net, losses, fabric)

    def finish(self, net: MultiTaskNetwork, fabric: Fabric) -> None:
        """Finish the measurement and the gradients of the other balancing."""
        self.step()
        self.balancing.finish(net, fabric)

    def after_step(self, losses: Callable[[], Mapping[str, Tensor]], fabric: Fabric) -> None:
        """Update the other balancing after the optimiser's step."""
        self.balancing.after_step(losses, fabric)

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Update the other balancing at the end of an epoch."""
        self.balancing.end_epoch(losses)
