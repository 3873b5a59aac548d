"""How well a binary answer ranks, without a threshold: AUC and average precision."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from tssbn.metrics.base import TaskMetric

__all__ = ["AUC"]


class AUC(TaskMetric):
    """AUC, average precision and cross-entropy of one binary answer, over the whole split.

    AUC is the area under the ROC curve: the probability that a positive has a higher logit than a
    negative, ties counted as a half. Average precision is the mean, over the positives, of the
    precision at the threshold that just takes them in. Neither needs a threshold, and neither
    changes where the logits are shifted or stretched; the cross-entropy does, in nats.

    An answer that ignores the input has AUC 0.5, the share of positives as average precision, and
    at best the entropy of that share as cross-entropy. Where all labels are the same, AUC is NaN;
    average precision is without a positive.

    Logits of the whole split are kept until :meth:`compute`.

    Shape:
        - prediction: (B,) or (B, 1) floating, logits
        - target: (B,) int64, 0 or 1, -1 where there is no label

    Returns of ``compute()``: ``"auc"``, ``"average_precision"``, ``"cross_entropy"``.

    Raises:
        ValueError: shapes or types other than these; targets out of range; where there is a label,
            a prediction that is NaN or infinite.

    Example:
        >>> metric = AUC()
        >>> metric.update(torch.tensor([2.0, -1.0, 0.5, 9.0]), torch.tensor([1, 0, 0, -1]))
        >>> metric.compute()
        {'auc': 1.0, 'average_precision': 1.0, 'cross_entropy': 0.47...}
    """

    directions: ClassVar = {"auc": True, "average_precision": True, "cross_entropy": False}
    unit = "%"
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.set_dtype(torch.float64)  # in which a process without a batch joins the others
        for name in ("logits", "labels"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        counted = self._labels(target, 2)
        if prediction.dim() == 2:
            self._check("prediction", prediction, (len(target), 1))
            prediction = prediction.squeeze(1)
        self._check("prediction", prediction, target.shape)
        self._finite("prediction", prediction[counted])
        self.logits.append(prediction[counted].double())
        self.labels.append(target[counted].double())

    def compute(self) -> dict[str, float]:
        values = dict.fromkeys(self.directions, math.nan)
        if not len(self.logits):  # a list, or a tensor of all processes
            return values
        logits, labels = dim_zero_cat(self.logits), dim_zero_cat(self.labels)
        if not len(labels):
            return values
        values["cross_entropy"] = binary_cross_entropy_with_logits(logits, labels).item()
        labels, positives = labels.long(), int(labels.sum())
        # Ranks in [0, 1], which torchmetrics takes as they are: a sigmoid would make large logits
        # equal.
        levels, ranks = logits.unique(return_inverse=True)
        ranks = ranks / len(levels)
        if 0 < positives < len(labels):
            values["auc"] = binary_auroc(ranks, labels).item()
        if positives:
            values["average_precision"] = binary_average_precision(ranks, labels).item()
        return values
