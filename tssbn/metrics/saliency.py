"""The two metrics of saliency on PASCAL-Context, of which each paper prints one."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from tssbn.metrics.binary import BinaryMap, Inputs

__all__ = ["SaliencyF", "SaliencyIoU"]


class SaliencyF(BinaryMap):
    """F of saliency at the best of 19 thresholds, from counts over the whole split (maxF).

    At each threshold 0.05, 0.10, ..., 0.95 the pixels with at least that probability are predicted
    salient. With precision P and recall R over all pixels of the split and β² = 0.3,

        F = (1 + β²) PR / (β² P + R) = (1 + β²) TP / (β² (TP + FN) + TP + FP),

    and the metric is the largest F. InvPT, TaskPrompter and MLoRE print it.

    Their code applies a sigmoid to probabilities. A threshold of 0.50 or less then admits every
    pixel; 0.55, 0.60, 0.65 and 0.70 are thresholds of 0.2007, 0.4055, 0.6190 and 0.8473 on the
    probability; higher ones admit none. Use ``double_sigmoid=True`` to compare with their tables.

    Args:
        inputs: what the predictions are, ``"logits"`` or ``"probabilities"``.
        double_sigmoid: whether to apply a sigmoid to the probability, as the published tables do.

    Shape:
        - prediction: (B, 2, H, W), or (B, 1, H, W) or (B, H, W) for the salient class
        - target: (B, H, W) int64, 1 for salient, -1 for void

    Returns of ``compute()``: ``"max_f"``, NaN if no pixel of any target is salient.

    Raises:
        ValueError: shapes, types or values differ from these.

    Example:
        >>> metric = SaliencyF(inputs="probabilities")
        >>> metric.update(torch.tensor([[[0.9, 0.6, 0.1]]]), torch.tensor([[[1, 0, 0]]]))
        >>> metric.compute()
        {'max_f': 1.0}
        >>> metric = SaliencyF(inputs="probabilities", double_sigmoid=True)
        >>> metric.update(torch.tensor([[[0.8, 0.7, 0.1]]]), torch.tensor([[[1, 0, 0]]]))
        >>> round(metric.compute()["max_f"], 3)  # no threshold lies between 0.7 and 0.8
        0.565
    """

    THRESHOLDS = torch.arange(1, 20, dtype=torch.float64) / 20
    directions: ClassVar = {"max_f": True}
    unit = "%"
    predicted: Tensor
    salient: Tensor

    def __init__(self, inputs: Inputs, double_sigmoid: bool = False) -> None:
        super().__init__(inputs)
        self.double_sigmoid = double_sigmoid
        counts = torch.zeros(2, len(self.THRESHOLDS), dtype=torch.int64)
        self.add_state("predicted", counts, "sum")  # rows: false, true positives
        self.add_state("salient", torch.zeros((), dtype=torch.int64), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        probability, _ = self._probability(prediction, target)
        thresholds = self._as_given(self.THRESHOLDS, prediction)
        if self.double_sigmoid:
            probability, thresholds = probability.sigmoid(), self.THRESHOLDS.to(self.device)
        # right=True: the number of thresholds that are less or equal
        level = torch.bucketize(probability, thresholds, right=True)
        self.predicted += _reached(level, target, len(self.THRESHOLDS)).sum(0)
        self.salient += (target == 1).sum()

    def compute(self) -> dict[str, float]:
        false, true = self.predicted.double()
        f = 13 * true / (3 * self.salient + 10 * (true + false))  # whole numbers: at most 1 exactly
        return {"max_f": f.max().where(self.salient > 0, math.nan).item()}


class SaliencyIoU(BinaryMap):
    """Mean IoU of saliency over the images, at the best of 15 thresholds.

    At each threshold 0.20, 0.25, ..., 0.90 the pixels above it are predicted salient, and each
    image has an IoU = TP / (TP + FP + FN), or 1 where no pixel is salient, predicted or true. The
    metric is the largest of the 15 means over the images. ASTMT and MTLoRA print it. Void pixels
    are left out, and so are images of void alone; their codes have no void here.

    Args:
        inputs: what the predictions are, ``"logits"`` or ``"probabilities"``.

    Shape:
        - prediction: (B, 2, H, W), or (B, 1, H, W) or (B, H, W) for the salient class
        - target: (B, H, W) int64, 1 for salient, -1 for void

    Returns of ``compute()``: ``"miou"``.

    Raises:
        ValueError: shapes, types or values differ from these.

    Example:
        >>> metric = SaliencyIoU(inputs="probabilities")
        >>> metric.update(torch.tensor([[[0.9, 0.6, 0.6]]]), torch.tensor([[[1, 1, 0]]]))
        >>> round(metric.compute()["miou"], 3)
        0.667
    """

    THRESHOLDS = torch.arange(4, 19, dtype=torch.float64) / 20
    directions: ClassVar = {"miou": True}
    unit = "%"
    total: Tensor
    images: Tensor

    def __init__(self, inputs: Inputs) -> None:
        super().__init__(inputs)
        self.add_state("total", torch.zeros(len(self.THRESHOLDS), dtype=torch.float64), "sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        probability, counted = self._probability(prediction, target)
        thresholds = self._as_given(self.THRESHOLDS, prediction)
        level = torch.bucketize(probability, thresholds)  # those that are less
        false, true = _reached(level, target, len(self.THRESHOLDS)).unbind(1)
        union = (target == 1).sum((1, 2))[:, None] + false
        iou = torch.where(union > 0, true / union.clamp(min=1).double(), 1.0)
        used = counted.any(2).any(1)
        self.total += iou[used].sum(0)
        self.images += used.sum()

    def compute(self) -> dict[str, float]:
        return {"miou": (self.total / self.images).max().item()}


def _reached(level: Tensor, target: Tensor, thresholds: int) -> Tensor:
    """Count the pixels of label 0 and of label 1 that pass each threshold, for each image.

    Args:
        level: (B, H, W), how many thresholds the pixel passes.
        target: (B, H, W), negative for void.
        thresholds: their number.

    Returns:
        (B, 2, thresholds).
    """
    bins = thresholds + 1
    image = torch.arange(len(target), device=target.device)[:, None, None]
    index = ((image * 2 + target) * bins + level)[target >= 0]
    counts = torch.bincount(index, minlength=len(target) * 2 * bins).view(-1, 2, bins)
    return counts.flip(2).cumsum(2).flip(2)[..., 1:]
