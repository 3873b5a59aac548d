"""Recognise normalisation layers, and check what the conversion assumes of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from tssbn.copies import copied
from tssbn.norm.converted import TORCH_NORMS

__all__ = ["check_scale", "is_norm", "is_per_channel", "looks_like_norm"]

# They have "Norm" in the name and a 1-d weight that scales a residual, not a normalised input.
_NOT_NORMS = {"GlobalResponseNorm"}
_PER_CHANNEL = {_BatchNorm.__module__, "timm.layers.norm_act"}
_MIX = (nn.GLU, nn.Softmax, nn.Softmax2d, nn.LogSoftmax)


def is_norm(module: nn.Module) -> bool:
    """Whether `module` is a normalisation layer that can be gated.

    That is any norm layer of `torch.nn` or a subclass of one, and any other module with "Norm" in
    the name of its class and a 1-d ``weight`` of its own (timm's RmsNorm, torchvision's
    FrozenBatchNorm2d, a language model's LlamaRMSNorm, yours). GlobalResponseNorm is not: its
    weight scales a residual.

    Example:
        >>> import torch, tssbn
        >>> [tssbn.is_norm(m) for m in (torch.nn.LayerNorm(4), torch.nn.Linear(4, 4))]
        [True, False]
    """
    name = type(module).__name__
    if name in _NOT_NORMS:
        return False
    if isinstance(module, TORCH_NORMS):
        return True
    weight = getattr(module, "weight", None)
    return "Norm" in name and isinstance(weight, Tensor) and weight.ndim == 1


def looks_like_norm(module: nn.Module) -> bool:
    """Whether a module that cannot be gated seems to normalise all the same."""
    if type(module).__name__ in _NOT_NORMS or is_norm(module):
        return False
    own = [v for v in (*module._parameters.values(), *module._buffers.values()) if v is not None]
    return bool(own) and ("Norm" in type(module).__name__ or "running_mean" in module._buffers)


def check_scale(name: str, layer: nn.Module) -> None:
    """Refuse a layer whose weight is no plain scale, as in x̂·(1 + w): its gate would not close."""
    if isinstance(layer, TORCH_NORMS) or layer.weight.is_meta:
        return
    off = {
        key: torch.zeros_like(v)
        for key in ("weight", "bias")
        if isinstance(v := getattr(layer, key, None), Tensor)
    }
    layer = copied(layer).eval()  # some keep statistics, or start, by what they see first
    channels, like = layer.weight.shape[0], layer.weight
    for shape in (2, channels), (2, channels, 3, 3), (2, 3, 3, channels):
        x = torch.linspace(-1, 2, torch.Size(shape).numel()).reshape(shape).to(like)
        try:
            with torch.no_grad():
                one, other = (functional_call(layer, off, (v,)) for v in (x, x.flip(0).square()))
        except (RuntimeError, ValueError, AssertionError, IndexError, TypeError, AttributeError):
            continue  # not the shape of this layer's inputs
        if torch.equal(one, other):
            return
    raise ValueError(
        f"layer {name!r}, a {type(layer).__name__}, does not switch off at weight 0, so a gate "
        "cannot stand in for its weight; use where= to leave it out"
    )


def is_per_channel(layer: nn.Module) -> bool:
    """Whether the layer treats each channel of dimension 1 by itself, however many there are.

    True of PyTorch's BatchNorm and of timm's, which goes on with an activation; any other subclass
    may mix channels afterwards.
    """
    known = type(layer).forward.__module__ in _PER_CHANNEL
    mixes = any(
        isinstance(child, _MIX) or next(child.parameters(), None) is not None
        for child in layer.children()
    )
    return isinstance(layer, _BatchNorm) and known and not mixes
