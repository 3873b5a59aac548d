"""Copies of networks."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn

__all__ = ["copied"]

Module = TypeVar("Module", bound=nn.Module)


def copied(model: Module) -> Module:
    """Copy a model deeply, even if some of its weights are computed from other parameters.

    Pruning and the older weight norm store such a weight as an attribute with a graph, which
    ``copy.deepcopy`` refuses. The next forward pass computes the weight again.

    Example:
        >>> import torch
        >>> layer = torch.nn.utils.prune.l1_unstructured(nn.Linear(2, 2), "weight", 1)
        >>> layer(torch.ones(1, 2)).sum().backward()
        >>> bool((copied(layer).weight == layer.weight).all())
        True
    """
    computed = [
        value
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and value.grad_fn is not None
    ]
    return copy.deepcopy(model, {id(value): value.detach().clone() for value in computed})
