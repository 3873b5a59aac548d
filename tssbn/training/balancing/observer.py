"""Look at the losses of a step and their graph, and leave the rest to another balancing."""

from collections.abc import Callable, Iterator, Mapping

from lightning_fabric import Fabric
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import Balancing

__all__ = ["Observer"]


class Observer(Balancing):
    """Changes nothing of what another balancing does; the base of what measures while training.

    Args:
        balancing: The other; the plain sum by default.

    Example:
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
        """The losses of some of the tasks, whose graph is to be kept."""

    def step(self) -> None:
        """All tasks were seen."""

    def passes(self, net: MultiTaskNetwork) -> Iterator[tuple[str, ...]]:
        """Those of the other."""
        return self.balancing.passes(net)

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """See the losses, before the other's own backward pass frees their graph."""
        self.see(losses, fabric)
        self.balancing.backward(net, losses, fabric)

    def finish(self, net: MultiTaskNetwork, fabric: Fabric) -> None:
        """The other's step, too."""
        self.step()
        self.balancing.finish(net, fabric)

    def after_step(self, losses: Callable[[], Mapping[str, Tensor]], fabric: Fabric) -> None:
        """The other's."""
        self.balancing.after_step(losses, fabric)

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """The other's."""
        self.balancing.end_epoch(losses)
