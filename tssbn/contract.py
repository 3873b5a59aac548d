"""The interface between multi-task networks and trainers; every method implements it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["MultiTaskNetwork"]


@runtime_checkable
class MultiTaskNetwork(Protocol):
    """Define the attributes and methods that a trainer needs of any multi-task network.

    A network may have two more members, which the trainer uses if they exist:

    * A method ``penalty() -> Tensor``: a scalar that the trainer adds to the loss of every step,
      such as the entropy of gates. The trainer calls it once a step, in training mode and outside
      autocast, between the last forward pass and its backward pass. It may use tensors of that
      pass, but not of earlier passes. Loss balancing does not weight it.
    * An attribute ``progress``: a float from 0 to 1, the share of the training that is done. The
      trainer sets it before every step. (In a compiled network, make it a property that fills a
      tensor; otherwise each new value causes a recompilation.)

    Attributes:
        tasks: The names of the tasks, in a fixed order.
        tasks_per_pass: The largest number of tasks in one pass; None for all. The trainer sets it.
            It changes memory and speed, not the result. If the structure of the network fixes its
            passes, the value is None and setting it has no effect.

    Example:
        >>> import torch, tssbn
        >>> heads = {"seg": torch.nn.Linear(3, 5), "depth": torch.nn.Linear(3, 1)}
        >>> isinstance(tssbn.MultiTask(torch.nn.Linear(4, 3), heads), MultiTaskNetwork)
        True
    """

    tasks: tuple[str, ...]
    tasks_per_pass: int | None

    def forward(self, x: Any, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return the predictions of the named tasks, or of all, in the network's task order."""
        ...

    def passes(self) -> Iterator[tuple[str, ...]]:
        """Yield groups of tasks; run a forward and a backward pass for each group."""
        ...

    def shared(self) -> list[nn.Parameter]:
        """Return the parameters that get gradients from more than one task's loss."""
        ...
