"""Three ways of averaging errors over pixels, samples or batches."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from tssbn.metrics.base import TaskMetric

__all__ = ["Pooled"]

Pooling = Literal["pixel", "sample", "batch"]


class Pooled(TaskMetric):
    """The base class of metrics that average statistics of batches of maps with weights.

    Args:
        pooling: the weight of a batch: its number of pixels that count (``"pixel"``), its number of
            images with such a pixel (``"sample"``), or 1 (``"batch"``).
        statistics: how many statistics are averaged.

    Raises:
        ValueError: `pooling` is none of the three.

    Example:
        >>> class Absolute(Pooled):
        ...     directions = {"absolute": False}
        ...
        ...     def update(self, prediction, target):
        ...         counted = ~target.isnan()
        ...         self._add([(prediction - target)[counted].abs().mean()], counted)
        ...
        ...     def compute(self):
        ...         return dict(zip(self.directions, self._means()))
        >>> metric = Absolute("pixel", statistics=1)
        >>> metric.update(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, torch.nan]]))
        >>> metric.compute()
        {'absolute': 3.0}
    """

    total: Tensor
    weight: Tensor

    def __init__(self, pooling: Pooling, statistics: int) -> None:
        super().__init__()
        self.pooling = self._choice("pooling", pooling, ("pixel", "sample", "batch"))
        self.add_state("total", torch.zeros(statistics, dtype=torch.float64), "sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), "sum")

    def _add(self, statistics: Sequence[Tensor], counted: Tensor) -> None:
        """Add the statistics of a batch; `counted` (B, ...) masks its pixels that count."""
        samples = counted.flatten(1).any(1).sum()
        weight = {"pixel": counted.sum(), "sample": samples, "batch": 1}[self.pooling]
        self.total += weight * torch.stack(list(statistics))
        self.weight += weight

    def _means(self) -> list[float]:
        return (self.total / self.weight).tolist()
