"""What the metrics of saliency and of boundaries share: maps of two classes."""

from typing import Literal

import torch
from torch import Tensor

from tssbn.metrics.base import TaskMetric

__all__ = ["BinaryMap"]

Inputs = Literal["logits", "probabilities"]


class BinaryMap(TaskMetric):
    """A metric of maps of two classes, such as salient or not: the second is what is to be found.

    Args:
        inputs: what predictions are, ``"logits"`` or ``"probabilities"``; never guessed. Logits
            become probabilities by the softmax over two channels, or the sigmoid of one.

    Shape:
        - prediction: (B, 2, H, W), a value for each class, or (B, 1, H, W) or (B, H, W), that of
          the second class
        - target: (B, H, W) int64, 0 or 1, -1 for void
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = self._choice("inputs", inputs, ("logits", "probabilities"))

    def _probability(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The second class's probability, float64 and 0 at void pixels; which pixels count."""
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
        """The thresholds in the digits of the predictions: a float32 0.35 is at least 0.35."""
        if self.inputs == "logits":
            return thresholds.to(prediction.device)
        return thresholds.to(prediction.device, prediction.dtype).double()
