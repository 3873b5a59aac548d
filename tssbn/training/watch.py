"""What can be told of a training run while it goes on."""

from collections.abc import Callable
from typing import Any, Protocol

from tssbn.training.run import Run

__all__ = ["Silent", "Watch"]


class Watch(Protocol):
    """Is told how a run goes; only the first process tells."""

    def begin(self, run: Run, epochs: int, steps: int, first_epoch: int) -> None:
        """Before the first step; a resumed run starts at a later epoch than 1."""

    def step(self, epoch: int, step: int, losses: Callable[[], dict[str, float]]) -> None:
        """After a step, counted from 1 in each epoch; a GPU waits if the losses are asked for."""

    def epoch(self, entry: dict[str, Any]) -> None:
        """After an epoch, its entry in the record."""

    def end(self, record: dict[str, Any]) -> None:
        """After the last epoch, or the one at which the run was stopped."""


class Silent:
    """Watches and says nothing."""

    def begin(self, run: Run, epochs: int, steps: int, first_epoch: int) -> None: ...
    def step(self, epoch: int, step: int, losses: Callable[[], dict[str, float]]) -> None: ...
    def epoch(self, entry: dict[str, Any]) -> None: ...
    def end(self, record: dict[str, Any]) -> None: ...
