"""What a multi-task network is, to a trainer: the contract that every method keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["MultiTaskNetwork"]


@runtime_checkable
class MultiTaskNetwork(Protocol):
    """What a trainer asks of a network of several tasks, whatever the method.

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
