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

    A channel scores σ(γ) in a σBN layer and ``|γ|`` in an ordinary one. It stays if its score is
    strictly above the ``fraction`` quantile; of every layer the best ``minimum`` stay anyhow.

    Args:
        fraction: share of channels to drop, in [0, 1); 0 keeps all.
        scope: ``"global"``: one quantile over the pooled scores of all layers. ``"local"``: one
            for each layer, so that all lose the same share.
        minimum: channels that a layer never goes below.
        layers: names of the norm layers to choose from; all of them by default. Leave out those
            that feed a sum of branches: a channel can only go from all branches at once.

    Returns:
        For each layer its name and a boolean (C,) mask, True where the channel stays.

    Raises:
        ValueError: bad argument, unknown layer, a model without prunable layers, or a score that is
            not finite (a diverged run).

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
        raise ValueError("no prunable layer: neither σBN nor affine BatchNorm, or layers is empty")

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
    """Copy the model with its unmarked channels switched off: their norm layer puts out 0.

    The same function as `prune_channels` yields, in the old size; quick enough for pruning curves.

    Args:
        masks: boolean (C,) masks by layer name, as from `channel_masks`.

    Raises:
        ValueError: unknown layer, or a mask of another size, or one that keeps nothing.

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
