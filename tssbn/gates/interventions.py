"""What is done to gates to see what they do: filters taken out, channels forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from tssbn.gates.matrix import Importance, sigma_layers

__all__ = ["ablated", "permuted"]


@contextmanager
def ablated(model: nn.Module, filters: Any) -> Iterator[None]:
    """Switch filters off for every task, inside a ``with`` block, without retraining.

    Closes their gates (γ = -∞) and zeroes any biases, so that the layer's output is exactly 0 at
    these filters. Restores gates and biases bit for bit afterwards. (Figure 4, right, of
    arXiv 2512.20420 removes filters in this way.)

    Args:
        model: A network whose `importance` can be read.
        filters: Boolean (F,), True for filters to remove, in the order of the importance matrix.

    Raises:
        ValueError: If there are no σ layers, or `filters` is not boolean or has another length.

    Example:
        >>> import torch, tssbn
        >>> net = tssbn.task_specific(torch.nn.BatchNorm1d(3), ("seg", "depth")).eval()
        >>> with tssbn.gates.ablated(net, [False, True, False]), tssbn.select(net, "depth"):
        ...     net(torch.ones(1, 3)).detach().round(decimals=2)
        tensor([[0.5000, 0.0000, 0.5000]])
    """
    tasks, layers = sigma_layers(model)
    filters = torch.as_tensor(filters)
    widths = [layer.gamma.numel() // len(tasks) for layer in layers.values()]
    if filters.dtype != torch.bool or filters.shape != (sum(widths),):
        raise ValueError(
            f"filters must be boolean of shape ({sum(widths)},), one for each column of the "
            f"importance matrix, got {filters.dtype} of shape {tuple(filters.shape)}"
        )
    saved = []
    try:
        for layer, chosen in zip(layers.values(), filters.split(widths), strict=True):
            for parameter, without in (layer.gamma, -torch.inf), (layer.beta, 0.0):
                if parameter is not None:
                    saved.append((parameter, parameter.detach().clone()))
                    rows = parameter.detach().view(len(tasks), -1)
                    rows[:, chosen.to(rows.device)] = without
        yield
    finally:
        for parameter, before in saved:
            parameter.detach().copy_(before)


def permuted(importance: Importance, generator: torch.Generator) -> Importance:
    """Permute each task's gates within each layer, as a null model for analyses of channels.

    Every task is permuted independently. It keeps its set of gates in every layer, and so its
    capacity, but the relation between tasks at a channel becomes random. If a measure has the same
    value on permuted gates, it is no evidence about channels.

    Example:
        >>> import torch, tssbn
        >>> values = torch.tensor([[0.1, 0.2, 0.3, 0.9], [0.1, 0.2, 0.3, 0.9]]).double()
        >>> gates = tssbn.gates.Importance(values, ("seg", "depth"), {"1": 3, "4": 1})
        >>> tssbn.gates.permuted(gates, torch.Generator().manual_seed(0)).values
        tensor([[0.3000, 0.1000, 0.2000, 0.9000],
                [0.1000, 0.2000, 0.3000, 0.9000]], dtype=torch.float64)
    """
    parts = []
    for part in importance.by_layer().values():
        order = torch.rand(part.shape, generator=generator).argsort(dim=1)
        parts.append(part.gather(1, order))
    return replace(importance, values=torch.cat(parts, dim=1))
