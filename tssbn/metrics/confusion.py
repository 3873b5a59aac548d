"""The base class of the metrics of classes, which holds their confusion matrix."""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from tssbn.metrics.base import VOID, TaskMetric

__all__ = ["ConfusionMatrix"]


class ConfusionMatrix(TaskMetric):
    """The base class of metrics that follow from one confusion matrix over all labels.

    Args:
        classes: number of classes, at least 2.

    Attributes:
        AXES: names of the dimensions of the labels after the batch, ``("H", "W")`` for maps.
        confusion: (classes, classes) int64; n_ij labels of class i are predicted as class j.

    Raises:
        ValueError: there are fewer than 2 classes.

    Example:
        >>> from tssbn.metrics.classification import Classification
        >>> metric = Classification(2)
        >>> metric.update(torch.tensor([0, 0, 1]), torch.tensor([0, 1, -1]))  # -1 is no label
        >>> metric.confusion
        tensor([[1, 0],
                [1, 0]])
    """

    AXES: ClassVar[tuple[str, ...]] = ()
    unit = "%"
    confusion: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise self._error(f"classes must be at least 2, got {classes}")
        self.classes = classes
        self.add_state("confusion", torch.zeros(classes, classes, dtype=torch.int64), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        counted = self._labels(target, self.classes, *self.AXES)
        if prediction.is_floating_point():
            shape = (len(target), self.classes, *target.shape[1:])
            self._check("prediction (logits)", prediction, shape)
            largest, prediction = prediction.max(1)
            self._finite("prediction", largest[counted])
        else:
            self._check("prediction (labels)", prediction, target.shape, integer=True)
            self._range("prediction", prediction[counted], self.classes)
        self.confusion += multiclass_confusion_matrix(
            prediction, target, self.classes, ignore_index=VOID, validate_args=False
        )
