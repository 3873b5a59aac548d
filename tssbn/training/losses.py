"""The losses of an epoch, which stay on the device until somebody looks."""

import math
import time

import torch
from lightning_fabric import Fabric
from torch import Tensor

from tssbn.training.processes import average

__all__ = ["Losses"]

EVERY = 50  # steps between two looks: a look makes a GPU wait for its last step


class Losses:
    """Collects the losses of the steps of one epoch, the mean of all processes.

    Attributes:
        paces: seconds of a step; a value for each look, the mean over the steps since the last.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.pending: list[dict[str, Tensor]] = []
        self.seen: list[dict[str, float]] = []
        self.paces: list[float] = []
        self.began = time.monotonic()

    def add(self, losses: dict[str, Tensor]) -> None:
        """The losses of the next step, by task."""
        self.pending.append(losses)
        if len(self.pending) == EVERY:
            self.look()

    def look(self) -> None:
        """Wait for the steps so far.

        Raises:
            FloatingPointError: a loss is NaN or infinite; names the first step and the task.
        """
        if not self.pending:
            return
        values = torch.stack([torch.stack([*losses.values()]) for losses in self.pending]).float()
        average(self.fabric, [values])
        for losses, row in zip(self.pending, values.tolist(), strict=True):
            self.seen.append(dict(zip(losses, row, strict=True)))
            for task, loss in self.seen[-1].items():
                if not math.isfinite(loss):
                    raise FloatingPointError(
                        f"the loss of {task!r} is {loss} in step {len(self.seen)}"
                    )
        now = time.monotonic()
        self.paces.append((now - self.began) / len(self.pending))
        self.began = now
        self.pending.clear()

    def means(self) -> dict[str, float]:
        """The mean of each task over the steps."""
        self.look()
        return {
            task: math.fsum(losses[task] for losses in self.seen) / len(self.seen)
            for task in self.seen[0]
        }
