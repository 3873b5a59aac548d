"""F1 of binary attributes."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.functional.classification import multilabel_confusion_matrix

from tssbn.metrics.base import VOID, TaskMetric
from tssbn.metrics.binary import Inputs

__all__ = ["Attributes"]


class Attributes(TaskMetric):
    """F1 of binary attributes, each over the whole split, and the mean over the attributes.

    From the true positives TP, false positives FP and false negatives FN of an attribute,

        P = TP / (TP + FP + ε),    R = TP / (TP + FN + ε),    F1 = 2PR / (P + R + ε),

    with ε = 1e-8, as FAMO and FairGrad do on CelebA. So an attribute that is never predicted
    rightly has F1 = 0, also where it is present in no target; one without any label has NaN, and is
    left out of the mean. Predicted is what has a probability above 0.5, a logit above 0.

    Args:
        attributes: how many there are.
        inputs: what the predictions are, ``"logits"`` or ``"probabilities"``; never guessed.

    Shape:
        - prediction: (B, attributes) floating
        - target: (B, attributes) int64, 0 or 1, -1 where there is no label
        - for one attribute also (B,), either of them

    Returns of ``compute()``: ``"f1"``, the mean, and ``"f1_per_attribute"``, a list.

    Raises:
        ValueError: shapes or types other than these; targets out of range; where there is a label,
            a prediction that is NaN, infinite or no probability.

    Example:
        >>> metric = Attributes(2, inputs="probabilities")
        >>> metric.update(torch.tensor([[0.9, 0.2], [0.7, 0.6]]), torch.tensor([[1, 1], [0, 1]]))
        >>> metric.compute()
        {'f1': 0.66..., 'f1_per_attribute': [0.66..., 0.66...]}
    """

    directions: ClassVar = {"f1": True, "f1_per_attribute": True}
    unit = "%"
    confusion: Tensor

    def __init__(self, attributes: int = 1, *, inputs: Inputs) -> None:
        super().__init__()
        if attributes < 1:
            raise self._error(f"attributes must be at least 1, got {attributes}")
        self.attributes = attributes
        self.inputs = self._choice("inputs", inputs, ("logits", "probabilities"))
        self.add_state("confusion", torch.zeros(attributes, 2, 2, dtype=torch.int64), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        if self.attributes == 1:
            prediction, target = (x[:, None] if x.dim() == 1 else x for x in (prediction, target))
        self._check("target", target, ("B", self.attributes), integer=True)
        self._check("prediction", prediction, target.shape)
        counted = target != VOID
        self._range("target", target[counted], 2, f", or {VOID} where there is no label")
        self._finite("prediction", prediction[counted])
        if self.inputs == "probabilities":
            self._fractions("prediction", prediction[counted])
        positive = prediction > (0 if self.inputs == "logits" else 0.5)
        self.confusion += multilabel_confusion_matrix(
            positive.long(), target, self.attributes, ignore_index=VOID, validate_args=False
        )

    def compute(self) -> dict[str, float | list[float]]:
        (tn, fp), (fn, tp) = self.confusion.double().permute(1, 2, 0)
        precision, recall = tp / (tp + fp + 1e-8), tp / (tp + fn + 1e-8)
        f1 = 2 * precision * recall / (precision + recall + 1e-8)
        f1 = f1.where(tn + fp + fn + tp > 0, math.nan)
        return {"f1": f1.nanmean().item(), "f1_per_attribute": f1.tolist()}
