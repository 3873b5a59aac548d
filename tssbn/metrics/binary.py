"""The base class of the metrics of saliency and boundaries, which are maps of two classes."""

from typing import Literal

import torch
from torch import Tensor

from tssbn.metrics.base import TaskMetric

__all__ = ["BinaryMap"]

Inputs = Literal["logits", "probabilities"]


class BinaryMap(TaskMetric):
    """The base class of metrics of maps with two classes, of which class 1 is to be found.

    Args:
        inputs: what the predictions are, ``"logits"`` or ``"probabilities"``. Logits become
            probabilities by the softmax over two channels, or by the sigmoid of one.

    Shape:
        - prediction: (B, 2, H, W), a value for each class, or (B, 1, H, W) or (B, H, W), the value
          of class 1
        - target: (B, H, W) int64, 0 or 1, -1 for void

    Raises:
        ValueError: `inputs` is neither of the two.
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = self._choice("inputs", inputs, ("logits", "probabilities"))

    def _probability(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the probability of class 1 in float64, 0 at void, and the mask of the rest."""
        counted = self._labels(target, 2, "H", "W")
        if prediction.dim() == 3:
            prediction = prediction[:, None]
        channels = 2 if prediction.shape[1:2] == (2,) else 1
        self._check("prediction", prediction, (len(target), channels, *target.shape[1:]))
        values = prediction.movedim(1, -1)[counted].double()
        self._finite("prediction", values)
        second = values[:, -1]
        if self.inputs == "probabilities":
            self._fractions("prediction", values)
        else:
            second = (second - values[:, 0] if channels == 2 else second).sigmoid()
        probability = torch.zeros(target.shape, dtype=torch.float64, device=target.device)
        probability[counted] = second
        return probability, counted

    def _as_given(self, thresholds: Tensor, prediction: Tensor) -> Tensor:
        """Round the thresholds as the predictions are, so that a float32 0.35 reaches 0.35."""
        if self.inputs == "logits":
            return thresholds.to(prediction.device)
        return thresholds.to(prediction.device, prediction.dtype).double()
