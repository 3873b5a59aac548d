"""F1 of binary attributes, and scores that need no threshold."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multilabel_confusion_matrix,
)
from torchmetrics.utilities import dim_zero_cat

from tssbn.metrics.base import VOID, TaskMetric
from tssbn.metrics.binary import Inputs

__all__ = ["Attributes"]


class Attributes(TaskMetric):
    """F1, average precision, AUC and cross-entropy of binary attributes, and their means.

    Each score is computed for each attribute over the whole split, and then averaged over the
    attributes. With the true positives TP, false positives FP and false negatives FN,

        P = TP / (TP + FP + ε),    R = TP / (TP + FN + ε),    F1 = 2PR / (P + R + ε),

    with ε = 1e-8, as in the code of FAMO and FairGrad for CelebA. An attribute without a true
    positive has F1 = 0, even if no target has it; an attribute without any label has NaN, and is
    left out of the mean. An attribute is predicted where its probability is above 0.5, that is, its
    logit above 0.

    F1 at this threshold is 0 for an attribute that is ranked well but whose probability never
    exceeds 0.5. The other scores need no threshold:

    - average precision is the mean, over the images with the attribute, of the precision among the
      images ranked as high; NaN if no image has it. Of predictions that are all equal it is the
      share of images with the attribute.
    - AUC is the probability that an image with the attribute is ranked above one without it, where
      equal predictions count one half; NaN unless there are images of both kinds.
    - cross-entropy is in nats; for probabilities its logarithms are clamped as in PyTorch.

    Args:
        attributes: number of attributes.
        inputs: what the predictions are, ``"logits"`` or ``"probabilities"``.

    Shape:
        - prediction: (B, attributes) floating
        - target: (B, attributes) int64, 0 or 1, -1 where there is no label
        - for one attribute also (B,), either of them

    Returns of ``compute()``: the means ``"f1"``, ``"average_precision"``, ``"auc"`` and
    ``"cross_entropy"``, and ``"f1_per_attribute"``, a list.

    Raises:
        ValueError: shapes or types differ from these, a target is out of range, or, where there is
            a label, a prediction is NaN, infinite or not a probability.

    Example:
        >>> metric = Attributes(2, inputs="probabilities")
        >>> metric.update(torch.tensor([[0.9, 0.2], [0.7, 0.6]]), torch.tensor([[1, 1], [0, 1]]))
        >>> metric.compute()["f1_per_attribute"], metric.compute()["auc"]
        ([0.66..., 0.66...], 1.0)
    """

    directions: ClassVar = {
        "f1": True,
        "average_precision": True,
        "auc": True,
        "cross_entropy": False,
        "f1_per_attribute": True,
    }
    unit = "%"
    confusion: Tensor
    predictions: list[Tensor]
    targets: list[Tensor]

    def __init__(self, attributes: int = 1, *, inputs: Inputs) -> None:
        super().__init__()
        self.set_dtype(torch.float64)  # so that a process without a batch gathers this type too
        if attributes < 1:
            raise self._error(f"attributes must be at least 1, got {attributes}")
        self.attributes = attributes
        self.inputs = self._choice("inputs", inputs, ("logits", "probabilities"))
        self.add_state("confusion", torch.zeros(attributes, 2, 2, dtype=torch.int64), "sum")
        self.add_state("predictions", [], "cat")
        self.add_state("targets", [], "cat")

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
        # Flat, as torchmetrics gathers them from a process that has seen no batch.
        self.predictions.append(prediction.detach().double().flatten())
        self.targets.append(target.double().flatten())

    def compute(self) -> dict[str, float | list[float]]:
        (tn, fp), (fn, tp) = self.confusion.double().permute(1, 2, 0)
        precision, recall = tp / (tp + fp + 1e-8), tp / (tp + fn + 1e-8)
        f1 = 2 * precision * recall / (precision + recall + 1e-8)
        f1 = f1.where(tn + fp + fn + tp > 0, math.nan)
        others = torch.tensor([self._free(i) for i in range(self.attributes)], dtype=torch.float64)
        average, auc, loss = others.nanmean(0).tolist()
        return {
            "f1": f1.nanmean().item(),
            "average_precision": average,
            "auc": auc,
            "cross_entropy": loss,
            "f1_per_attribute": f1.tolist(),
        }

    def _free(self, attribute: int) -> tuple[float, float, float]:
        """Compute the scores without a threshold: average precision, AUC and cross-entropy."""
        if not len(self.predictions):  # a list, or what several processes gathered
            return (math.nan,) * 3
        target = dim_zero_cat(self.targets)[attribute :: self.attributes].long()
        prediction = dim_zero_cat(self.predictions)[attribute :: self.attributes]
        target, prediction = target[target != VOID], prediction[target != VOID]
        if not len(target):
            return (math.nan,) * 3
        logits = self.inputs == "logits"
        loss = F.binary_cross_entropy_with_logits if logits else F.binary_cross_entropy
        # Ranks: torchmetrics takes a sigmoid of logits, which makes large ones equal.
        rank = prediction.unique(return_inverse=True)[1].double() / len(prediction)
        ap = binary_average_precision(rank, target).item() if target.any() else math.nan
        auc = binary_auroc(rank, target).item() if 0 < target.sum() < len(target) else math.nan
        return ap, auc, loss(prediction, target.double()).item()
