"""The norm layers whose channels can go, and what is read of them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tssbn.norm import SigmoidNorm, TaskSpecificNorm

__all__ = ["check_masks", "in_float32", "is_gated", "prunable", "prunable_layer"]


def prunable(model: nn.Module) -> dict[str, nn.Module]:
    """Find the σBN and affine BatchNorm layers, by name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and not isinstance(layer, TaskSpecificNorm)
        and layer.weight is not None
    }


def prunable_layer(found: Mapping[str, nn.Module], name: str) -> nn.Module:
    """Return the prunable layer of this name, or say which there are."""
    if name not in found:
        raise ValueError(f"no prunable layer {name!r}: the model has {list(found)}")
    return found[name]


def is_gated(layer: nn.Module) -> bool:
    """Whether a layer's scale is a sigmoid gate."""
    return isinstance(layer, SigmoidNorm)


def check_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Refuse masks of unknown layers or of another size, and those that keep nothing."""
    found = prunable(model)
    for name, mask in masks.items():
        channels = prunable_layer(found, name).num_features
        if mask.dtype != torch.bool or mask.shape != (channels,):
            raise ValueError(
                f"the mask of {name!r} must be boolean of shape ({channels},), "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        if not mask.any():
            raise ValueError(f"the mask of {name!r} keeps no channel")


def in_float32(x: Tensor) -> Tensor:
    """Convert to float32 at least: half precision overflows in sums, and has no quantiles."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
