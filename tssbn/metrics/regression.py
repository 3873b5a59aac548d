"""Errors of a number that is predicted for an image."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from tssbn.metrics.base import TaskMetric

__all__ = ["Regression"]


class Regression(TaskMetric):
    """Mean absolute error, root mean square error and R² of one number for each image.

    With predictions p and targets t of the images that have a label, over the whole split::

        absolute = mean |p - t|,    rmse = √ mean (p - t)²,
        R² = 1 - Σ (p - t)² / Σ (t - mean t)².

    R² is 1 for a perfect prediction, 0 for the constant baseline that predicts the mean of the
    targets, and negative for worse predictions. It is NaN where all targets are equal.

    Args:
        unit: of the target, such as ``"years"``, and so of absolute error and rmse.

    Shape:
        - prediction: (B, 1) or (B,) floating
        - target: (B,) floating, NaN where there is no label

    Returns of ``compute()``: ``"absolute"``, ``"rmse"``, ``"r2"``.

    Raises:
        ValueError: shapes or types differ from these, or a value is not finite where there is a
            label.

    Example:
        >>> metric = Regression(unit="years")
        >>> target = torch.tensor([20.0, 40.0, torch.nan])
        >>> metric.update(torch.tensor([[25.0], [40.0], [3.0]]), target)
        >>> {name: round(value, 3) for name, value in metric.compute().items()}
        {'absolute': 2.5, 'rmse': 3.536, 'r2': 0.875}
    """

    directions: ClassVar = {"absolute": False, "rmse": False, "r2": True}
    sums: Tensor

    def __init__(self, unit: str = "") -> None:
        super().__init__()
        self.unit = unit
        # Of 1, |p - t|, (p - t)², t and t²: float32 squared has 48 of the 53 bits of float64.
        self.add_state("sums", torch.zeros(5, dtype=torch.float64), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self._check("target", target, ("B",))
        if prediction.dim() == 2:
            self._check("prediction", prediction, (len(target), 1))
            prediction = prediction.squeeze(1)
        self._check("prediction", prediction, target.shape)
        counted = ~target.isnan()
        predicted, true = prediction[counted].double(), target[counted].double()
        self._finite("prediction", predicted)
        self._finite("target", true)
        error = predicted - true
        columns = [torch.ones_like(true), error.abs(), error.square(), true, true.square()]
        self.sums += torch.stack(columns).sum(1)

    def compute(self) -> dict[str, float]:
        n, absolute, squared, total, squares = self.sums
        spread = squares - total.square() / n
        varied = spread > 1e-12 * squares  # a smaller spread is rounding error
        r2 = torch.where(varied, 1 - squared / spread, math.nan)
        return {
            "absolute": (absolute / n).item(),
            "rmse": (squared / n).sqrt().item(),
            "r2": r2.item(),
        }
