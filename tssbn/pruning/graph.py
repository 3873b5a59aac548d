"""Which channels depend on which: torch-pruning's graph of a network, with masks in its layers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from tssbn._install import install

__all__ = ["norms", "surgery"]


def surgery(model: nn.Module, masks: Mapping[str, Tensor], example: Tensor) -> tuple:
    """Copy a model to be cut, with the masks in its BatchNorm layers as `stays`; and its graph."""
    try:
        with warnings.catch_warnings():  # its progress bars ask notebooks for ipywidgets
            warnings.simplefilter("ignore")
            import torch_pruning as tp
    except ImportError as error:
        raise ImportError(f"removal needs torch-pruning: {install('train')}") from error

    class NormPruner(tp.BasePruningFunc):
        """All that a norm layer holds for each channel: scale or γ, statistics, and its mask."""

        def prune_out_channels(self, layer, idxs):
            rest = torch.ones(layer.num_features, dtype=torch.bool)
            rest[idxs] = False
            for kind in layer._parameters, layer._buffers:
                for name, value in kind.items():
                    if value is not None and value.ndim:
                        kept = value.detach()[rest.to(value.device)]
                        is_parameter = isinstance(value, nn.Parameter)
                        kind[name] = nn.Parameter(kept) if is_parameter else kept
            layer.num_features -= len(idxs)
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer):
            return layer.num_features

        get_in_channels = get_out_channels

    small = copy.deepcopy(model).requires_grad_(True)  # the graph is read off autograd
    pruners = {}
    for name, layer in small.named_modules():
        if isinstance(layer, _BatchNorm):
            pruners[type(layer)] = NormPruner()
            everything = torch.ones(layer.num_features, dtype=torch.bool)
            layer.register_buffer("stays", masks.get(name, everything).clone())
    with torch.enable_grad(), _Places():
        graph = tp.DependencyGraph().build_dependency(
            small, (example,), customized_pruners=pruners, verbose=False
        )
    return small, graph


def norms(items: Any) -> dict[nn.Module, list[int]]:
    """Find the norm layers of a pruning group, and which of their channels belong to it."""
    targets = ((item.dep.target.module, item.idxs) for item in items)
    return {module: idxs for module, idxs in targets if isinstance(module, _BatchNorm)}


class _Places(TorchFunctionMode):
    """Makes the places of a pooling's maxima visible: where they are put to use, a sum of zeros.

    torch-pruning follows gradients. Integers have none, yet they have the channels of the map that
    was pooled.
    """

    def __init__(self):
        super().__init__()
        self.pooled = WeakIdKeyDictionary()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name.startswith("max_unpool") and args[1] in self.pooled:
            args = (args[0] + 0 * self.pooled[args[1]], *args[1:])
        result = function(*args, **(kwargs or {}))
        if name.startswith(("max_pool", "adaptive_max_pool")) and isinstance(result, tuple):
            self.pooled[result[1]] = result[0]
        return result
