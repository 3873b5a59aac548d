"""What it takes to train one task: its loss, its metric, and how many channels its head gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from tssbn.data.target import Target
from tssbn.metrics.base import TaskMetric
from tssbn.metrics.dense import Attributes, Depth, Normals, Pooling, Segmentation

__all__ = ["Task", "tasks"]


@dataclass(frozen=True)
class Task:
    """One task of a benchmark.

    Attributes:
        outputs: channels of the prediction.
        loss: of a batch of predictions and targets, a mean over all that counts; 0 where nothing
            does.
        metric: makes the metric; its first value enters Δm, in its direction.
    """

    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[], TaskMetric]


def tasks(
    targets: Mapping[str, Target], pooling: Pooling = "pixel", mask: str = "norm"
) -> dict[str, Task]:
    """The tasks of a data set, as the papers train them.

    ========== =============================================== =========================
    kind       loss                                            metric
    ========== =============================================== =========================
    classes    cross-entropy                                   mIoU
    depth      absolute error                                  absolute error
    disparity  absolute error                                  absolute error
    normal     1 - cosine                                      mean angle
    attribute  binary cross-entropy                            F1
    ========== =============================================== =========================

    (mtan's for NYUv2, auto-lambda's for Cityscapes, FAMO's for CelebA.)

    Args:
        targets: what the samples hold.
        pooling: how errors are averaged, see :class:`~tssbn.metrics.dense.Depth`.
        mask: which normals count, see :class:`~tssbn.metrics.dense.Normals`; of the loss, too.

    Example:
        >>> import torch
        >>> depth = tasks({"depth": Target("depth", ignore=0)})["depth"]
        >>> depth.loss(torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [0.0, 3.0]]]]))
        tensor(1.)
    """
    return {name: _task(target, pooling, mask) for name, target in targets.items()}


def _task(target: Target, pooling: Pooling, mask: str) -> Task:
    if target.kind == "classes":
        classes = len(target.classes)
        return Task(classes, cross_entropy, partial(Segmentation, classes))
    if target.kind == "normal":
        return Task(3, partial(cosine, mask=mask), partial(Normals, pooling, mask))
    if target.kind == "attribute":
        return Task(1, binary_cross_entropy, partial(Attributes, inputs="logits"))
    return Task(1, partial(absolute, ignore=target.ignore), partial(Depth, target.ignore, pooling))


def cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    """Over the pixels with a label, those >= 0."""
    total = F.cross_entropy(prediction, target, ignore_index=-1, reduction="sum")
    return total / (target >= 0).sum().clamp(min=1)


def absolute(prediction: Tensor, target: Tensor, ignore: float) -> Tensor:
    """L1, over the pixels that are not ``ignore``."""
    return _mean((prediction - target).abs(), target != ignore)


def cosine(prediction: Tensor, target: Tensor, mask: str = "norm") -> Tensor:
    """1 - cosine of the angle, over the pixels with a normal.

    ``mask="sum"`` drops the normals whose components sum to 0, as mtan does.
    """
    counted = target.sum(1) != 0 if mask == "sum" else (target != 0).any(1)
    return _mean(1 - (F.normalize(prediction, dim=1) * target).sum(1), counted)


def binary_cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    """Of logits (B, 1) and labels (B,)."""
    return F.binary_cross_entropy_with_logits(prediction.squeeze(1), target.to(prediction.dtype))


def _mean(error: Tensor, counted: Tensor) -> Tensor:
    # A sum over all pixels: indexing by the mask would make the GPU wait for its size.
    return error.where(counted, 0).sum() / counted.sum().clamp(min=1)
