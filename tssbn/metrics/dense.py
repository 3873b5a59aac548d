"""The numbers by which the benchmarks rank networks: segmentation, depth, normals, attributes.

=================================== ================================= =======================
metric                              first value                       where it is printed
=================================== ================================= =======================
:class:`Segmentation`               mIoU                              every dense benchmark
:class:`Depth`                      absolute error, also of disparity NYUv2, Cityscapes
:class:`Normals`                    mean angle in degrees             NYUv2, PASCAL-Context
:class:`Attributes`                 mean F1                           CelebA
:mod:`~tssbn.metrics.saliency`      maxF, mean IoU                    PASCAL-Context
:mod:`~tssbn.metrics.boundary`      odsF                              PASCAL-Context
=================================== ================================= =======================

All are torchmetrics: ``update(prediction, target)`` for each batch, then ``compute()``, which gives
a dict of named numbers, in fractions (mIoU 0.4375, not 43.75) or degrees. Targets are batches of
the entries that :class:`~tssbn.data.target.Target` describes; what it says is not to be counted
changes no value, whatever is predicted there. Sums have 64 bits, also for half-precision inputs.
With torch.distributed, ``compute()`` adds up the sums of all processes. Give each process its own
part of the data: DistributedSampler repeats samples to make the parts equal, and those would count
twice. In a MetricCollection say ``compute_groups=False``: it would merge two variants of a metric
that agree on the first batch. Devices without 64-bit floats (mps) cannot hold the sums: move
predictions to the CPU.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multilabel_confusion_matrix,
)

from .base import VOID, Inputs, TaskMetric

__all__ = ["Attributes", "Depth", "Normals", "Segmentation"]

Pooling = Literal["pixel", "sample", "batch"]


class Segmentation(TaskMetric):
    """Mean IoU and pixel accuracy, from one confusion matrix over all pixels.

    With n_ij the number of pixels of class i that are predicted as class j,

        IoU_c = n_cc / (Σ_j n_cj + Σ_i n_ic - n_cc),    accuracy = Σ_c n_cc / Σ_ij n_ij,

    and mIoU is the mean of IoU_c over the classes, background included. The matrix is summed over
    the whole split first, never averaged over images or batches: so it is done by mtan (since
    November 2020), auto-lambda, LibMTL, MLoRE and MTLoRA, for rooms, streets, PASCAL's 21 classes,
    car parts and human parts.

    A class that is neither in a target nor in a prediction has no IoU: it is NaN in ``"iou"`` and
    left out of the mean. There mtan, auto-lambda and LibMTL print NaN, MLoRE and MTLoRA count 0;
    where every class occurs, as in the test images of NYUv2, all agree. A class that is predicted,
    but is in no target, has IoU 0 and counts.

    Args:
        classes: how many there are; at least 2.

    Shape:
        - prediction: logits (B, classes, H, W), or labels (B, H, W) int64
        - target: (B, H, W) int64, -1 for void

    Returns of ``compute()``: ``"miou"``, ``"accuracy"``, and ``"iou"``, a list, by class.

    Raises:
        ValueError: shapes or types other than these; at a pixel that counts, a label out of range,
            or logits whose largest is NaN or infinite; nothing counted at all.

    Example:
        >>> metric = Segmentation(classes=3)
        >>> metric.update(torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, -1]]]))
        >>> metric.compute()["miou"], metric.compute()["iou"]  # class 2 is absent
        (0.5, [0.5, 0.5, nan])
    """

    directions: ClassVar = {"miou": True, "accuracy": True, "iou": True}
    confusion: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise self._error(f"classes must be at least 2, got {classes}")
        self.classes = classes
        self.add_state("confusion", torch.zeros(classes, classes, dtype=torch.int64), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        counted = self._labels(target, self.classes)
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

    def compute(self) -> dict[str, float | list[float]]:
        counts = self.confusion.double()
        if not counts.any():
            raise self._nothing()
        hits = counts.diag()
        iou = hits / (counts.sum(0) + counts.sum(1) - hits)
        return {
            "miou": iou.nanmean().item(),
            "accuracy": (hits.sum() / counts.sum()).item(),
            "iou": iou.tolist(),
        }


class _Pooled(TaskMetric):
    """Statistics of the pixels of each batch, in a weighted mean over the batches."""

    total: Tensor
    weight: Tensor

    def __init__(self, pooling: Pooling, statistics: int) -> None:
        super().__init__()
        self.pooling = self._choice("pooling", pooling, ("pixel", "sample", "batch"))
        self.add_state("total", torch.zeros(statistics, dtype=torch.float64), "sum")
        self.add_state("weight", torch.zeros((), dtype=torch.float64), "sum")

    def _add(self, statistics: Sequence[Tensor], samples: int, pixels: int) -> None:
        weight = {"pixel": pixels, "sample": samples, "batch": 1}[self.pooling]
        self.total += weight * torch.stack(list(statistics))
        self.weight += weight

    def _means(self) -> list[float]:
        if self.weight == 0:
            raise self._nothing()
        return (self.total / self.weight).tolist()


class Depth(_Pooled):
    """Errors of depth or disparity.

    With prediction p and target t of the pixels that count, the means of ``|p - t|`` (absolute),
    ``|p - t| / t`` (relative), and the root of the mean of (p - t)² (rmse, which CosReg prints), in
    the unit of the target. The relative error is there if ``ignore`` is 0 only: elsewhere t may be
    0.

    Three ways of averaging are in use. They differ if batches have different numbers of pixels that
    count:

    - ``"pixel"``: over all pixels of the split. LibMTL: its weights are the numbers of such pixels.
    - ``"sample"``: the mean over the pixels of each batch, then over the batches, weighted by their
      numbers of images. auto-lambda.
    - ``"batch"``: the same without weights. mtan.

    The last two depend on how the images fall into batches: compare such numbers at equal batch
    size and order. A batch without a pixel that counts takes no part (upstream it makes all NaN).
    For ``"rmse"`` the squares are averaged in the same way, and the root is taken at the end.

    Args:
        ignore: the target's value where there is no measurement: 0 for depth and inverse depth,
            -1 for the disparity of Cityscapes.
        pooling: one of the three.

    Shape:
        - prediction, target: (B, 1, H, W) floating

    Returns of ``compute()``: ``"absolute"``, ``"rmse"``, and ``"relative"``.

    Raises:
        ValueError: shapes or types other than these; where the target counts, a value that is not
            finite, or a target below 0; nothing counted at all.

    Example:
        >>> metric = Depth()
        >>> metric.update(torch.tensor([[[[1.5, 2.0, 9.0]]]]), torch.tensor([[[[1.0, 4.0, 0.0]]]]))
        >>> {name: round(value, 3) for name, value in metric.compute().items()}
        {'absolute': 1.25, 'rmse': 1.458, 'relative': 0.5}
    """

    directions: ClassVar = {"absolute": False, "rmse": False, "relative": False}

    def __init__(self, ignore: float = 0, pooling: Pooling = "pixel") -> None:
        super().__init__(pooling, statistics=3 if ignore == 0 else 2)
        self.ignore = ignore
        if ignore != 0:
            self.directions = {"absolute": False, "rmse": False}

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self._check("target", target, ("B", 1, "H", "W"))
        self._check("prediction", prediction, target.shape)
        counted = target != self.ignore
        predicted, true = prediction[counted].double(), target[counted].double()
        self._finite("prediction", predicted)
        self._finite("target", true)
        if (true < 0).any():
            raise self._error(
                f"target has the value {true.min().item():g}, expected 0 or more, "
                f"or {self.ignore:g} where there is none"
            )
        if not len(true):
            return
        error = (predicted - true).abs()
        statistics = [error.mean(), error.square().mean()]
        if self.ignore == 0:
            statistics.append((error / true).mean())
        self._add(statistics, samples=len(target), pixels=len(true))

    def compute(self) -> dict[str, float]:
        values = dict(zip(self.directions, self._means(), strict=True))
        return values | {"rmse": values["rmse"] ** 0.5}


class Normals(_Pooled):
    """Angles between predicted and true surface normals, in degrees.

    The angle between p and t is 2·atan2(‖p̂ - t̂‖, ‖p̂ + t̂‖) of the unit vectors p̂ and t̂, in
    float64. MLoRE takes this form; mtan, auto-lambda, LibMTL and MTLoRA take the arccos of p̂·t̂,
    clamped to [-1, 1]. That is the same angle, but in float32 it loses digits where it is small, up
    to 0.03 degrees; means over NYUv2 images agree to 0.0002 degrees. All of them make predictions
    unit vectors, in the network or in the metric. A predicted zero vector has no direction and
    counts as 90 degrees (as in MLoRE).

    Returns the mean, the median, and the fractions below 11.25, 22.5 and 30 degrees.

    Args:
        pooling: ``"pixel"``: over all pixels of the split (LibMTL, MLoRE, MTLoRA). ``"sample"``
            (auto-lambda) and ``"batch"`` (mtan): of each batch, then averaged; see :class:`Depth`.
            With ``"pixel"`` the median comes from a histogram of 0.001 degrees per bin, and is
            right to 0.0005 degrees.
        mask: which pixels count. ``"norm"``: those whose target is not the zero vector.
            ``"sum"``: those whose three components do not sum to 0, which drops (0.7, -0.7, 0) and
            its like, too; 0.02 % of the pixels of NYUv2. The rule of mtan, auto-lambda and LibMTL.

    Shape:
        - prediction, target: (B, 3, H, W) floating; targets are unit vectors, or zero

    Returns of ``compute()``: ``"mean"``, ``"median"``, ``"within_11.25"``, ``"within_22.5"``,
    ``"within_30"``.

    Raises:
        ValueError: shapes or types other than these; where the target counts, a value that is not
            finite, or a target that is not a unit vector; nothing counted at all.

    Example:
        >>> metric = Normals()
        >>> target = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1)
        >>> metric.update(torch.tensor([0.0, 2.0, -2.0]).view(1, 3, 1, 1), target)
        >>> round(metric.compute()["mean"], 3)
        45.0
    """

    LIMITS = (11.25, 22.5, 30)
    BINS = 180_000  # of the histogram, from 0 to 180 degrees
    directions: ClassVar = {
        "mean": False,
        "median": False,
        **{f"within_{limit:g}": True for limit in LIMITS},
    }
    histogram: Tensor

    def __init__(self, pooling: Pooling = "pixel", mask: Literal["norm", "sum"] = "norm") -> None:
        super().__init__(pooling, statistics=5)
        self.mask = self._choice("mask", mask, ("norm", "sum"))
        if pooling == "pixel":
            self.add_state("histogram", torch.zeros(self.BINS, dtype=torch.int64), "sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        self._check("target", target, ("B", 3, "H", "W"))
        self._check("prediction", prediction, target.shape)
        counted = target.sum(1) != 0 if self.mask == "sum" else (target != 0).any(1)
        predicted, true = (x.movedim(1, -1)[counted].double() for x in (prediction, target))
        self._finite("prediction", predicted)
        self._finite("target", true)
        length = true.norm(dim=-1)
        off = length[(length - 1).abs() > 0.02]
        if len(off):
            raise self._error(
                f"target has {len(off)} vectors of other lengths, such as {off[0].item():g}, "
                f"expected unit vectors, or zero where there is none"
            )
        if not len(true):
            return
        predicted, true = (F.normalize(x, dim=-1, eps=1e-300) for x in (predicted, true))
        angle = (
            2 * torch.atan2((predicted - true).norm(dim=-1), (predicted + true).norm(dim=-1))
        ).rad2deg()
        if self.pooling == "pixel":
            bins = (angle * (self.BINS / 180)).long().clamp(max=self.BINS - 1)
            self.histogram += torch.bincount(bins, minlength=self.BINS)
            median = angle.new_zeros(())  # compute() reads the histogram
        else:
            ordered = angle.sort().values
            median = (ordered[(len(angle) - 1) // 2] + ordered[len(angle) // 2]) / 2
        within = [(angle < limit).double().mean() for limit in self.LIMITS]
        self._add([angle.mean(), median, *within], samples=len(target), pixels=len(angle))

    def compute(self) -> dict[str, float]:
        values = dict(zip(self.directions, self._means(), strict=True))
        if self.pooling == "pixel":
            below = self.histogram.cumsum(0)
            middle = torch.stack([(below[-1] + 1) // 2, below[-1] // 2 + 1])  # ranks, from 1
            bins = torch.searchsorted(below, middle).double()
            values["median"] = ((bins.mean() + 0.5) * (180 / self.BINS)).item()
        return values


class Attributes(TaskMetric):
    """F1 of binary attributes, each over the whole split, and the mean over the attributes.

    From the true positives TP, false positives FP and false negatives FN of an attribute,

        P = TP / (TP + FP + ε),    R = TP / (TP + FN + ε),    F1 = 2PR / (P + R + ε),

    with ε = 1e-8, as FAMO and FairGrad do on CelebA. So an attribute that is never predicted
    rightly has F1 = 0, also where it is present in no target. Predicted is what has a probability
    above 0.5, a logit above 0.

    Args:
        attributes: how many there are.
        inputs: what the predictions are, ``"logits"`` or ``"probabilities"``; never guessed.

    Shape:
        - prediction: (B, attributes) floating
        - target: (B, attributes) int64, 0 or 1
        - for one attribute also (B,), either of them

    Returns of ``compute()``: ``"f1"``, the mean, and ``"f1_per_attribute"``, a list.

    Raises:
        ValueError: shapes or types other than these; NaN, or probabilities or targets out of range;
            nothing counted at all.

    Example:
        >>> metric = Attributes(2, inputs="probabilities")
        >>> metric.update(torch.tensor([[0.9, 0.2], [0.7, 0.6]]), torch.tensor([[1, 1], [0, 1]]))
        >>> metric.compute()
        {'f1': 0.66..., 'f1_per_attribute': [0.66..., 0.66...]}
    """

    directions: ClassVar = {"f1": True, "f1_per_attribute": True}
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
        self._range("target", target, 2)
        self._finite("prediction", prediction)
        if self.inputs == "probabilities":
            self._fractions("prediction", prediction)
        positive = prediction > (0 if self.inputs == "logits" else 0.5)
        self.confusion += multilabel_confusion_matrix(
            positive.long(), target, self.attributes, validate_args=False
        )

    def compute(self) -> dict[str, float | list[float]]:
        if not self.confusion.any():
            raise self._nothing()
        (_, fp), (fn, tp) = self.confusion.double().permute(1, 2, 0)
        precision, recall = tp / (tp + fp + 1e-8), tp / (tp + fn + 1e-8)
        f1 = 2 * precision * recall / (precision + recall + 1e-8)
        return {"f1": f1.mean().item(), "f1_per_attribute": f1.tolist()}
