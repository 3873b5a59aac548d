"""Insert modules into the blocks of a transformer, in place of its layers."""

from collections.abc import Callable, Iterable

from torch import nn

from tssbn.networks.blocks import blocks
from tssbn.tasks import Tasks

__all__ = ["LINEAR", "insert", "tasks_of_blocks"]

#: The linear layers of a block.
LINEAR = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def insert(
    trunk: nn.Module, places: Iterable[str], make: Callable[[nn.Module], nn.Module]
) -> list[nn.Module]:
    """Replace layers in each block of a trunk, in place.

    Args:
        trunk: a ViT or Swin transformer.
        places: names of layers within a block.
        make: ``make(layer)`` returns the module that replaces a layer.

    Returns:
        The replaced layers.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.

    Example:
        >>> from tssbn.networks.vit import ViT
        >>> trunk = ViT(image=(32, 32), width=24, depth=2, heads=2, taps=(1, 2))
        >>> insert(trunk, ["attn.proj"], lambda layer: nn.Sequential(layer, nn.Dropout(0.1)))
        [Linear(in_features=24, out_features=24, bias=True), Linear(in_features=24, ...
        >>> trunk.blocks[1].attn.proj[1]
        Dropout(p=0.1, inplace=False)
    """
    found = [
        (block, place, block.get_submodule(place))
        for block in blocks(trunk).values()
        for place in places
    ]
    for block, place, layer in found:
        block.set_submodule(place, make(layer))
    return [layer for _, _, layer in found]


def tasks_of_blocks(outputs: Iterable[str]) -> Tasks:
    """Make the :class:`tssbn.Tasks` that the task-specific modules inside transformer blocks share.

    It accepts the windows of a Swin transformer, whose rows have the required order image, task,
    window.

    Args:
        outputs: the names of the tasks.

    Example:
        >>> tasks_of_blocks(["seg", "depth"]).names
        ('seg', 'depth')
    """
    tasks = Tasks(outputs)
    tasks.parts_checked = True
    return tasks
