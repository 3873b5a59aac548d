"""What a multi-task network is, to a trainer: the contract that every method keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["MultiTaskNetwork"]


@runtime_checkable
class MultiTaskNetwork(Protocol):
    """What a trainer asks of a network of several tasks, whatever the method.

    A network may have two things more, which a trainer looks for:

    * A method ``penalty() -> Tensor``: a scalar that is added to the loss of every step, such as
      the entropy of gates. It is asked once a step, in training mode, after the last forward pass
      and before its backward pass: it may read what that pass left, but not what earlier ones did.
      It is computed outside of autocast. A balancing does not weigh it.
    * An attribute ``progress``: a float, the share of the training that is done, from 0 to 1; the
      trainer sets it before every step. (A network that is to be compiled should make it a property
      that fills a tensor, or it is compiled anew for each value.)

    Attributes:
        tasks: The names of the tasks, in a fixed order.
        tasks_per_pass: How many tasks share a pass at most, all if None; the trainer sets it. It
            changes memory and speed, not what is learned; a network whose passes are given by its
            structure has None, and ignores it.

    Example:
        >>> import torch, tssbn
        >>> heads = {"seg": torch.nn.Linear(3, 5), "depth": torch.nn.Linear(3, 1)}
        >>> isinstance(tssbn.MultiTask(torch.nn.Linear(4, 3), heads), MultiTaskNetwork)
        True
    """

    tasks: tuple[str, ...]
    tasks_per_pass: int | None

    def forward(self, x: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predictions by task, of the named tasks or of all, in the order of `tasks`."""
        ...

    def passes(self) -> Iterator[tuple[str, ...]]:
        """The tasks in groups, each for a forward and a backward pass; the gradients add up."""
        ...

    def shared(self) -> list[nn.Parameter]:
        """The parameters that more than one task's loss reaches: no gates of a task, no heads."""
        ...
