"""What the benchmarks of table 2 have in common: LibMTL's network and recipe."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from tssbn.benchmarks import Recipe, dummy_images
from tssbn.benchmarks.tasks import Task, tasks_for
from tssbn.data.target import Target
from tssbn.methods import Network
from tssbn.metrics.normals import Normals
from tssbn.networks import deeplab
from tssbn.networks.weights import check_source

__all__ = ["TUNED", "network", "recipe", "tasks"]

IMAGE = {"gate": "image"}

#: Of each method of experts, the gates of LibMTL: they see the whole image.
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
    """A dilated ResNet pretrained on ImageNet, and heads with dropout.

    Args:
        height, width: of the images, multiples of 8; gates of the whole image take no others.
        pretrained: where the trunk's weights come from, see :data:`tssbn.networks.deeplab.SOURCES`.
        trunk, head: make them.

    Raises:
        ValueError: an unknown source, or sizes that are no multiples of 8.
    """
    check_source(pretrained, deeplab.SOURCES)
    if height % deeplab.STRIDE or width % deeplab.STRIDE:
        raise ValueError(f"height={height} and width={width} must be multiples of {deeplab.STRIDE}")
    weights = None if pretrained == "none" else partial(deeplab.imagenet, trunk)

    def started() -> nn.Module:
        made = trunk()
        if weights is not None and not next(made.parameters()).is_meta:
            made.load_state_dict(weights())
        return made

    return Network(
        started,
        partial(head, dropout=0.5),
        dummy_images(height, width),
        stem="layer1",
        pretrained=weights,
    )


def recipe(batch: int) -> Recipe:
    """Adam at 1e-4 with weight decay, halved at epoch 100 of 200; whole batches alone."""
    return Recipe(
        epochs=200, batch=batch, lr=1e-4, weight_decay=1e-5, schedule="step", drop_last=True
    )


def tasks(targets: Mapping[str, Target]) -> dict[str, Task]:
    """mtan's losses; errors of depth are means over batches, those of angles over all pixels."""
    found = tasks_for(targets, pooling="sample", mask="sum")
    if "normal" in found:
        found["normal"] = replace(found["normal"], metric=partial(Normals, mask="sum"))
    return found
