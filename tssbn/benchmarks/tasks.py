"""The tasks of a benchmark: loss, metric and number of output channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from tssbn.benchmarks.losses import binary_cross_entropy, cosine_loss, cross_entropy, l1_loss
from tssbn.data.target import Target

if TYPE_CHECKING:
    from tssbn.metrics.base import TaskMetric
    from tssbn.metrics.pooled import Pooling

__all__ = ["Task", "tasks_for"]


@dataclass(frozen=True)
class Task:
    """One task of a benchmark.

    Attributes:
        out_channels: channels of the prediction.
        loss: maps a batch of predictions and targets to the mean loss over the labels, 0 without
            any label. :mod:`tssbn.benchmarks.losses` has those of the papers.
        metric: makes the metric, whose first value enters Δm, in its direction.

    Example:
        >>> from tssbn.metrics.regression import Regression
        >>> age = Task(1, l1_loss, partial(Regression, "years"))
        >>> age.metric().unit
        'years'
    """

    out_channels: int
    loss: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[], TaskMetric]


def tasks_for(
    targets: Mapping[str, Target],
    pooling: Pooling = "pixel",
    mask: Literal["norm", "sum"] = "norm",
) -> dict[str, Task]:
    """Make the tasks of a data set, with losses and metrics by the kind of target.

    ========== ============================ ====================================================
    kind       loss                         metric, its first value
    ========== ============================ ====================================================
    classes    cross-entropy                mIoU, :mod:`~tssbn.metrics.segmentation`
    depth      absolute error               absolute error, :mod:`~tssbn.metrics.depth`
    disparity  absolute error               absolute error, :mod:`~tssbn.metrics.depth`
    normal     1 - cosine                   mean angle, :mod:`~tssbn.metrics.normals`
    class      cross-entropy                accuracy, :mod:`~tssbn.metrics.classification`
    attribute  binary cross-entropy         F1, :mod:`~tssbn.metrics.attributes`
    number     absolute error               absolute error, :mod:`~tssbn.metrics.regression`
    words      cross-entropy                accuracy, :mod:`~tssbn.metrics.classification`
    ========== ============================ ====================================================

    The first four and attributes are those of mtan for NYUv2, auto-lambda for Cityscapes and FAMO
    for CelebA. Numbers have the loss of depth, which is also their metric: it limits the influence
    of a few labels that are far off, and has no width to choose as a smooth L1 loss has.

    The absolute error is in the unit of the target, and its gradients with it. For an age in years
    the loss starts near 30, and outweighs a cross-entropy. Use a unit in which the numbers have a
    spread of about 1, such as decades, or give the task a loss weight.

    Args:
        targets: a description of the entries of a sample, by task.
        pooling: how errors of maps are averaged, see :class:`~tssbn.metrics.depth.Depth`.
        mask: which normals count in metric and loss, see :class:`~tssbn.metrics.normals.Normals`.

    Example:
        >>> import torch
        >>> depth = tasks_for({"depth": Target("depth", ignore=0)})["depth"]
        >>> depth.loss(torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [0.0, 3.0]]]]))
        tensor(1.)
    """
    return {name: _task(target, pooling, mask) for name, target in targets.items()}


def _task(target: Target, pooling: Pooling, mask: Literal["norm", "sum"]) -> Task:
    # Here, because torchmetrics takes seconds to import, and saved runs are read without metrics.
    from tssbn.metrics.attributes import Attributes
    from tssbn.metrics.classification import Classification, WordClassification
    from tssbn.metrics.depth import Depth
    from tssbn.metrics.normals import Normals
    from tssbn.metrics.regression import Regression
    from tssbn.metrics.segmentation import Segmentation

    classes, ignore = len(target.classes), math.nan if target.ignore is None else target.ignore
    match target.kind:
        case "classes":
            return Task(classes, cross_entropy, partial(Segmentation, classes))
        case "class":
            return Task(classes, cross_entropy, partial(Classification, classes))
        case "words":
            return Task(classes, cross_entropy, partial(WordClassification, classes))
        case "normal":
            return Task(3, partial(cosine_loss, mask=mask), partial(Normals, pooling, mask))
        case "attribute":
            return Task(1, binary_cross_entropy, partial(Attributes, inputs="logits"))
        case "number":
            return Task(1, l1_loss, partial(Regression, target.unit))
        case _:
            unit = "m" if target.kind == "depth" else ""
            return Task(1, partial(l1_loss, ignore=ignore), partial(Depth, ignore, pooling, unit))
