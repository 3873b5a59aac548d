"""Three ways of averaging errors over pixels, samples or batches."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from tssbn.metrics.base import TaskMetric

__all__ = ["Pooled"]

Pooling = Literal["pixel", "sample", "batch"]


class Pooled(TaskMetric):
    """The base of the metrics of maps of numbers: a weighted mean of the batches' statistics."""

    total: Tensor
    weight: Tensor

    def __init__(self, pooling: Pooling, statistics: int) -> None:
        super().__init__()
        self.pooling = self._choice("pooling", pooling, ("pixel", "sample", "batch"))
        self.add_state("total", torch.zeros(statistics, dtype=torch.float64), "sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), "sum")

    def _add(self, statistics: Sequence[Tensor], counted: Tensor) -> None:
        """Add the statistics of a batch in which the pixels of the mask (B, ...) count."""
        samples = counted.flatten(1).any(1).sum()
        weight = {"pixel": counted.sum(), "sample": samples, "batch": 1}[self.pooling]
        self.total += weight * torch.stack(list(statistics))
        self.weight += weight

    def _means(self) -> list[float]:
        return (self.total / self.weight).tolist()
