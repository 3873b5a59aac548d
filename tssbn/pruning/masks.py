"""Which channels stay, and the network with the others switched off."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from tssbn.pruning.layers import check_masks, in_float32, is_gated, prunable, prunable_layer
from tssbn.pruning.penalties import CLOSED

__all__ = ["channel_masks", "mask_channels"]


def channel_masks(
    model: nn.Module,
    fraction: float,
    scope: str = "global",
    minimum: int = 3,
    layers: Iterable[str] | None = None,
) -> dict[str, Tensor]:
    """Mark the channels that survive when the weakest ``fraction`` of them goes.

    The score of a channel is σ(γ) in a σBN layer and ``|γ|`` in an ordinary one. A channel stays if
    its score is above the ``fraction`` quantile, or among the best ``minimum`` of its layer.

    Args:
        fraction: share of channels to drop, in [0, 1); 0 keeps all.
        scope: ``"global"``: one quantile over the pooled scores of all layers. ``"local"``: one
            for each layer, so that all lose the same share.
        minimum: smallest number of channels to keep in each layer.
        layers: names of the normalisation layers to prune; by default all. Leave out layers that
            feed a sum of branches, where a channel can only be removed from all branches at once.

    Returns:
        A boolean (C,) mask by layer name, True where the channel stays.

    Raises:
        ValueError: an argument is invalid, a layer is unknown, the model has no prunable layers, or
            a score is not finite (a diverged run).

    Example:
        >>> layer = nn.BatchNorm2d(5)
        >>> layer.weight.data = torch.tensor([0.1, -0.9, 0.5, 0.2, 0.8])
        >>> channel_masks(nn.Sequential(layer), 0.5, minimum=1)
        {'0': tensor([False,  True, False, False,  True])}
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be in [0, 1), got {fraction}")
    if scope not in ("global", "local"):
        raise ValueError(f'scope must be "global" or "local", got {scope!r}')
    if minimum < 1:
        raise ValueError(f"minimum must be at least 1, got {minimum}")
    found = prunable(model)
    if layers is not None:
        found = {name: prunable_layer(found, name) for name in layers}
    if not found:
        raise ValueError(
            "no prunable layer: neither σBN nor affine BatchNorm of a single task, or layers is "
            "empty. (tssbn.export.task cuts the channels of one of several tasks)"
        )

    scores = {name: _score(layer) for name, layer in found.items()}
    if bad := [name for name, score in scores.items() if not score.isfinite().all()]:
        raise ValueError(f"layers {bad} have scales that are NaN or infinite: nothing to rank")
    pooled = torch.cat(list(scores.values()))
    masks = {}
    for name, score in scores.items():
        threshold = (pooled if scope == "global" else score).quantile(fraction)
        masks[name] = score > threshold if fraction else torch.ones_like(score, dtype=torch.bool)
        masks[name][score.topk(min(minimum, len(score))).indices] = True
    return masks


def mask_channels(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """Copy the model and switch off its unmarked channels, so that their layers output 0 there.

    The copy computes the same as the result of `prune_channels`, but keeps the original size. This
    is fast enough for pruning curves.

    Args:
        masks: boolean (C,) masks by layer name, as from `channel_masks`.

    Raises:
        ValueError: a layer is unknown, or a mask has the wrong size or keeps no channel.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm1d(2))
        >>> off = mask_channels(net, {"0": torch.tensor([True, False])})
        >>> off.eval()(torch.ones(1, 2)).round().tolist()
        [[1.0, 0.0]]
    """
    check_masks(model, masks)
    model = copy.deepcopy(model)
    for name, mask in masks.items():
        layer = model.get_submodule(name)
        gated = is_gated(layer)
        scale, bias = (layer.gamma, layer.beta) if gated else (layer.weight, layer.bias)
        with torch.no_grad():
            scale[~mask] = CLOSED if gated else 0.0
            if bias is not None:
                bias[~mask] = 0.0
    return model


def _score(layer: nn.Module) -> Tensor:
    scale = in_float32(layer.gamma if is_gated(layer) else layer.weight).detach()
    return scale.sigmoid() if is_gated(layer) else scale.abs()
