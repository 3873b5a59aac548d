"""Masks in which channels that can only go together do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from tssbn.pruning.graph import norms, surgery
from tssbn.pruning.layers import check_masks

__all__ = ["tie_masks"]


def tie_masks(model: nn.Module, masks: Mapping[str, Tensor], example: Tensor) -> dict[str, Tensor]:
    """Make masks consistent for channels that can only be removed together.

    In a residual network a channel is the sum of the outputs of several normalisation layers. It
    is zero only if all of these layers switch it off. So the result drops a channel only if all
    their masks do; layers without a mask keep all channels. A layer that is read only by depthwise
    convolutions, each with its own normalisation layer, takes the mask of that later layer.
    Channels of grouped convolutions stay.

    Args:
        masks: boolean (C,) masks by layer name, as from `channel_masks`.
        example: an input batch of the size that the network will see.

    Returns:
        Masks for `prune_channels`, for the given layers and for those that a depthwise convolution
        ties to them.

    Raises:
        ValueError: as `mask_channels`.
        ImportError: torch-pruning is not installed.

    Example:
        >>> class Residual(nn.ModuleDict):
        ...     def forward(self, x):
        ...         return self["end"](self["a"](x) + self["b"](x))
        >>> branches = {name: nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)) for name in "ab"}
        >>> net = Residual({**branches, "end": nn.Conv2d(3, 1, 1)})
        >>> masks = {
        ...     "a.1": torch.tensor([True, False, False]),
        ...     "b.1": torch.tensor([False, True, False]),
        ... }
        >>> tie_masks(net, masks, torch.rand(1, 1, 4, 4))["a.1"]
        tensor([ True,  True, False])
    """
    check_masks(model, masks)
    small, graph = surgery(model, masks, example)
    groups = {}
    for name, layer in small.named_modules():
        if isinstance(layer, _BatchNorm) and layer in graph.module2node:
            prune = graph.get_pruner_of_module(layer).prune_out_channels
            everything = list(range(layer.num_features))
            groups[name] = graph.get_pruning_group(layer, prune, everything).items
    fixed = {member for items in groups.values() if _is_fixed(items) for member in norms(items)}
    tied = {}
    for name, items in groups.items():
        stays = torch.zeros(len(items[0].idxs), dtype=torch.bool)
        for item in items:
            member = item.dep.target.module
            if member in fixed:
                stays[:] = True
            elif isinstance(member, _BatchNorm) and not _overruled(graph.module2node[member]):
                stays[torch.tensor(item.root_idxs)[member.stays[item.idxs].cpu()]] = True
        if name in masks or not stays.all():
            tied[name] = stays.to(small.get_submodule(name).stays.device)
    return tied


def _is_fixed(items: Any) -> bool:
    """Whether the channels of a pruning group cannot go.

    They are those of a grouped convolution; or they reach layers under other numbers, as where a
    shortcut pads channels, of which torch-pruning knows nothing.
    """
    for item in items:
        member = item.dep.target.module
        if isinstance(member, _ConvNd) and 1 < member.groups < member.out_channels:
            return True
        if isinstance(member, _BatchNorm) and max(item.idxs) >= member.num_features:
            return True
    return False


def _overruled(norm: Any) -> bool:
    """Whether depthwise convolutions with norm layers alone read a norm layer (a node)."""
    readers = _readers(norm)
    return bool(readers) and all(
        _is_depthwise(reader.module)
        and all(isinstance(after.module, _BatchNorm) for after in _readers(reader))
        for reader in readers
    )


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvNd) and 1 < layer.groups == layer.out_channels


def _readers(node: Any) -> set[Any]:
    """The layers that a layer's output reaches through activations, sums and the like (nodes)."""
    found, waiting = set(), list(node.outputs)
    while waiting:
        reader = waiting.pop()
        if isinstance(reader.module, (_BatchNorm, _ConvNd, nn.Linear)) or not reader.outputs:
            found.add(reader)
        else:
            waiting += reader.outputs
    return found
