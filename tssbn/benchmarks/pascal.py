"""Splits, tasks and loss weights, which the two benchmarks of PASCAL-Context share."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from tssbn.benchmarks.losses import balanced_cross_entropy, cross_entropy, normal_l1_loss
from tssbn.benchmarks.tasks import Task
from tssbn.data.real.pascal import PascalContext
from tssbn.data.target import Target

__all__ = ["WEIGHTS", "parts", "tasks"]

#: The weights of the losses in both protocols; 1 for the segmentation.
WEIGHTS = {"parts": 2.0, "saliency": 5.0, "normal": 10.0, "boundary": 50.0}


def parts(
    split: str, root: str | Path, tasks: Literal[4, 5], augment: Callable[..., Callable]
) -> PascalContext:
    """Read the training images as they are, or the 5,105 test images with a protocol's transform.

    There are no validation images.

    Args:
        split: ``"train"``, or anything else for the test images.
        root: the folder of PASCAL-Context.
        tasks: number of tasks.
        augment: ``augment(targets, train=False)`` makes the transform of the test images.
    """
    found = PascalContext(root, "train" if split == "train" else "val", tasks=tasks)
    if split != "train":
        found.transform = augment(found.targets, train=False)
    return found


def tasks(
    targets: Mapping[str, Target], protocol: Literal["mlore", "mtlora"], thresholds: int = 19
) -> dict[str, Task]:
    """Make the tasks of PASCAL-Context as in MLoRE or MTLoRA.

    ============ ==================================== =========================================
    task         loss                                 metric
    ============ ==================================== =========================================
    segmentation cross-entropy                        mIoU of 21 classes
    parts        cross-entropy                        mIoU of 7 classes
    saliency     cross-entropy, balanced by the batch maxF (MLoRE); mean IoU of images (MTLoRA)
    normal       absolute error of unit normals       mean angle
    boundary     cross-entropy, 0.95 for boundaries   odsF
    ============ ==================================== =========================================

    Saliency has two outputs in MLoRE, and the loss is divided by the number of pixels that are not
    void; it has one output in MTLoRA, and the loss is divided by the number of all pixels. Errors
    of normals are summed over the components in MLoRE, and averaged in MTLoRA. maxF is computed as
    for the published numbers, see ``double_sigmoid`` of :class:`~tssbn.metrics.saliency.SaliencyF`;
    odsF is not, see :class:`~tssbn.metrics.boundary.Boundary`.

    Args:
        targets: those of :class:`~tssbn.data.real.pascal.PascalContext`.
        protocol: ``"mlore"`` or ``"mtlora"``.
        thresholds: number of thresholds of odsF.

    Example:
        >>> from tssbn.data.real.pascal import TARGETS
        >>> made = tasks(TARGETS, "mlore")
        >>> [(name, task.out_channels) for name, task in made.items()]
        [('segmentation', 21), ('parts', 7), ('saliency', 2), ('normal', 3), ('boundary', 1)]
    """
    from tssbn.metrics.boundary import Boundary
    from tssbn.metrics.normals import Normals
    from tssbn.metrics.saliency import SaliencyF, SaliencyIoU
    from tssbn.metrics.segmentation import Segmentation

    mlore = protocol == "mlore"
    saliency = partial(SaliencyF, double_sigmoid=True) if mlore else SaliencyIoU
    balanced = partial(balanced_cross_entropy, over="counted" if mlore else "all")
    error = partial(normal_l1_loss, over="pixels" if mlore else "components")
    boundary = partial(balanced_cross_entropy, positive=0.95)
    known = {
        "segmentation": Task(21, cross_entropy, partial(Segmentation, 21)),
        "parts": Task(7, cross_entropy, partial(Segmentation, 7)),
        "saliency": Task(2 if mlore else 1, balanced, partial(saliency, inputs="logits")),
        "normal": Task(3, error, Normals),
        "boundary": Task(1, boundary, partial(Boundary, "logits", thresholds=thresholds)),
    }
    return {name: known[name] for name in targets}
