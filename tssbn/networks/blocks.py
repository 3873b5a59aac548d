"""Where a transformer's blocks are: the places in which methods put modules of their own."""

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

    They are timm's, of :class:`~tssbn.networks.vit.ViT`, :class:`~tssbn.networks.swin.Swin`,
    :class:`~tssbn.networks.bert.Bert` or one of timm's own networks. Each has ``norm1``,
    ``attn.qkv``, ``attn.proj``, ``norm2``, ``mlp.fc1`` and ``mlp.fc2``. (Other libraries compute
    with the weights of these layers without calling them, so that a module put in their place would
    learn nothing.)

    Args:
        trunk: a ViT, a Swin transformer or a BERT, or a module that contains one.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: It has no such block.

    Example:
        >>> from tssbn.networks.vit import ViT
        >>> list(blocks(ViT(image=(32, 32), width=24, depth=2, heads=2, taps=(1, 2))))
        ['blocks.0', 'blocks.1']
    """
    # Whoever made such a trunk imported them.
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
