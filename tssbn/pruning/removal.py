"""A smaller network without the masked channels, cut by torch-pruning."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tssbn.pruning.graph import norms, surgery
from tssbn.pruning.layers import in_float32
from tssbn.pruning.masks import mask_channels

__all__ = ["prune_channels"]


def prune_channels(model: nn.Module, masks: Mapping[str, Tensor], example: Tensor) -> nn.Module:
    """Copy the model and remove its unmarked channels; needs torch-pruning.

    Removes the channels from the normalisation layers, from the convolutions before them and from
    the layers that read them. Checks on the example that the result computes the same as that of
    `mask_channels`. The parameters are new, so make a new optimiser for fine-tuning.

    Args:
        model: a network that returns one tensor.
        masks: boolean (C,) masks by layer name, as from `channel_masks`.
        example: an input batch of the size that the network will see.

    Raises:
        ValueError: as `mask_channels`; or the channels of a layer are tied to another norm layer's
            by a sum of branches, and the masks do not agree (see `tie_masks`); or the small network
            computes something else, as where an activation does not map 0 to 0.
        ImportError: torch-pruning is not installed.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        >>> masks = {"1": torch.tensor([True] * 3 + [False] * 5)}
        >>> prune_channels(net, masks, torch.rand(2, 4))[3]
        Linear(in_features=3, out_features=2, bias=True)
    """
    expected = _outputs(mask_channels(model, masks), example)
    small, graph = surgery(model, masks, example)
    for name in masks:
        layer = small.get_submodule(name)
        idxs = (~layer.stays).nonzero().flatten().tolist()
        if not idxs:
            continue
        prune = graph.get_pruner_of_module(layer).prune_out_channels
        group = graph.get_pruning_group(layer, prune, idxs)
        tied = norms(group.items)
        if any(norm.stays[idxs].any() for norm, idxs in tied.items()):
            names = [n for n, m in small.named_modules() if m in tied]
            raise ValueError(
                f"the channels of {name!r} can only go together, since {names} feed one sum: "
                "leave these layers out, see the argument layers of channel_masks, or see tie_masks"
            )
        group.prune()
    for layer in small.modules():
        layer._buffers.pop("stays", None)
    for part, original in zip(small.modules(), model.modules(), strict=True):
        part.training = original.training  # tracing switched to eval mode
    for part, original in zip(small.parameters(), model.parameters(), strict=True):
        part.requires_grad_(original.requires_grad)
    # In the mean over all values: rounding decides which of two equals a pooling takes.
    got, expected = in_float32(_outputs(small, example)), in_float32(expected)
    difference, size = (got - expected).norm(), expected.norm()
    if not difference <= 0.01 * size:
        raise ValueError(
            f"the smaller network is off by {difference / size:.2g} on the example, relative to "
            "its output: a removed channel "
            "still matters, as where the activation after its norm layer does not map 0 to 0"
        )
    return small


@torch.no_grad()
def _outputs(model: nn.Module, example: Tensor) -> Tensor:
    """Compute the model's output in eval mode, on a copy so that no state changes."""
    return copy.deepcopy(model).eval()(example)
