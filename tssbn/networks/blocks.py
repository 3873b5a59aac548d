"""The blocks of a transformer, in which methods insert modules."""

import sys

from torch import nn

from tssbn.networks.stages import UnsuitableTrunk

__all__ = ["blocks"]

KINDS = {
    "timm.models.vision_transformer": "Block",
    "timm.models.swin_transformer": "SwinTransformerBlock",
}


def blocks(trunk: nn.Module) -> dict[str, nn.Module]:
    """Find the transformer blocks of a trunk, by name, in the order of depth.

    The blocks are timm's: those of :class:`~tssbn.networks.vit.ViT`,
    :class:`~tssbn.networks.swin.Swin`, :class:`~tssbn.networks.bert.Bert` or timm's own
    transformers. Each has ``norm1``, ``attn.qkv``, ``attn.proj``, ``norm2``, ``mlp.fc1`` and
    ``mlp.fc2``. Other libraries read the weights of these layers without calling the layers, so
    that a module in their place would never be trained.

    Args:
        trunk: a ViT, a Swin transformer or a BERT, or a module that contains one.

    Returns:
        The blocks by their names in the trunk.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no such block.

    Example:
        >>> from tssbn.networks.vit import ViT
        >>> list(blocks(ViT(image=(32, 32), width=24, depth=2, heads=2, taps=(1, 2))))
        ['blocks.0', 'blocks.1']
    """
    # A trunk with such blocks can only exist where their module was imported.
    kinds = tuple(
        getattr(sys.modules[name], kind) for name, kind in KINDS.items() if name in sys.modules
    )
    found = {name: part for name, part in trunk.named_modules() if isinstance(part, kinds)}
    if not found:
        raise UnsuitableTrunk(
            f"a trunk of type {type(trunk).__name__} has no transformer block of timm: this method "
            "takes a ViT or a Swin transformer, see tssbn.networks.vit and tssbn.networks.swin"
        )
    return found
