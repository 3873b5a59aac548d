"""LibMTL's network and recipe, which the benchmarks of table 2 share."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from tssbn.benchmarks import Recipe, dummy_images
from tssbn.benchmarks.tasks import Task, tasks_for
from tssbn.data.target import Target
from tssbn.methods import Network
from tssbn.networks import deeplab
from tssbn.networks.weights import check_source

__all__ = ["TUNED", "network", "recipe", "tasks"]

IMAGE = {"gate": "image"}

#: The gates of LibMTL for each method with experts, which read the whole image.
TUNED: dict[str, Mapping[str, Any]] = {
    "mmoe": IMAGE,
    "cgc": IMAGE,
    "ple": IMAGE,
    "dselect-k": IMAGE,
}


def network(
    height: int,
    width: int,
    pretrained: str,
    trunk: Any = deeplab.dilated_resnet,
    head: Any = deeplab.DeepLabHead,
) -> Network:
    """Make a dilated ResNet that is pretrained on ImageNet, and heads with dropout 0.5.

    Args:
        height, width: size of the images, multiples of 8; gates that read the whole image accept no
            other size.
        pretrained: the source of the trunk's weights, see :data:`tssbn.networks.deeplab.SOURCES`.
        trunk, head: make the trunk and a head.

    Raises:
        ValueError: the source is unknown, or a size is no multiple of 8.

    Example:
        >>> network(48, 64, pretrained="none").stem
        'layer1'
    """
    check_source(pretrained, deeplab.SOURCES)
    if height % deeplab.STRIDE or width % deeplab.STRIDE:
        raise ValueError(f"height={height} and width={width} must be multiples of {deeplab.STRIDE}")
    weights = None if pretrained == "none" else partial(deeplab.imagenet, trunk)

    def started() -> nn.Module:
        net = trunk()
        if weights is not None and not next(net.parameters()).is_meta:
            net.load_state_dict(weights())
        return net

    return Network(
        started,
        partial(head, dropout=0.5),
        dummy_images(height, width),
        stem="layer1",
        pretrained=weights,
    )


def recipe(batch: int) -> Recipe:
    """Make the recipe of Adam at 1e-4 with weight decay 1e-5, halved at epoch 100 of 200.

    Incomplete batches are left out.

    Args:
        batch: images of a step.

    Example:
        >>> recipe(8).weight_decay
        1e-05
    """
    return Recipe(
        epochs=200, batch=batch, lr=1e-4, weight_decay=1e-5, schedule="step", drop_last=True
    )


def tasks(targets: Mapping[str, Target]) -> dict[str, Task]:
    """Make the tasks with mtan's losses and LibMTL's ways of averaging.

    Errors of depth are averaged over batches with their numbers of images as weights, and angles
    over all pixels.

    Args:
        targets: the targets of the data.

    Example:
        >>> tasks({"depth": Target("depth", ignore=0)})["depth"].metric().pooling
        'sample'
    """
    from tssbn.metrics.normals import Normals

    found = tasks_for(targets, pooling="sample", mask="sum")
    if "normal" in found:
        found["normal"] = replace(found["normal"], metric=partial(Normals, mask="sum"))
    return found
