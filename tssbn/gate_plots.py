"""Plots of a network's gates, in one call each; `tssbn.plots` exports them, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from tssbn import gates
from tssbn.gates import Importance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["capacity", "importance", "similarity"]

ANNOTATED = 12  # tasks up to which a number fits into each cell
NAMED = 40  # names that fit below the channels


def importance(net: nn.Module | Importance, ax: Axes | None = None) -> Axes:
    """Draw the importance matrix as a heat map, with a row per task and a column per channel.

    Lines separate the layers. Each layer's name stands below its first channel, if there is room.

    Args:
        net: A network with σ layers, or its importances.
        ax: Axes to draw on; by default those of a new figure.

    Example:
        >>> import tssbn
        >>> net = tssbn.task_specific(nn.BatchNorm2d(4), ("seg", "depth"))
        >>> [label.get_text() for label in importance(net).get_yticklabels()]
        ['seg', 'depth']
    """
    matrix = _read(net)
    starts = torch.tensor([0, *matrix.layers.values()]).cumsum(0)[:-1].tolist()
    ax = _heat_map(matrix.values, ax, vmin=0, vmax=1, cmap="viridis", label="importance σ(γ)")
    ax.vlines(starts[1:], 0, len(matrix.tasks), color="white", linewidth=0.6)
    named = {}  # by where they begin; a layer too close to the one before has no room
    for name, start in zip(matrix.layers, starts, strict=True):
        if not named or start - max(named) >= matrix.values.shape[1] / NAMED:
            named[start] = name
    ax.set_xticks(list(named), list(named.values()), rotation=90, fontsize=7)
    ax.set_yticks([row + 0.5 for row in range(len(matrix.tasks))], matrix.tasks, rotation=0)
    return ax


def similarity(net: nn.Module | Importance, centred: bool = False, ax: Axes | None = None) -> Axes:
    """Draw the similarity of every two tasks (:func:`tssbn.gates.similarity`) as a heat map.

    Args:
        net: A network with task-specific σ layers, or its importances.
        centred: Subtract each row's mean first; values then range from -1 to 1, not from 0 to 1.
        ax: Axes to draw on; by default those of a new figure.

    Example:
        >>> gates = Importance(torch.tensor([[0.6, 0.8], [0.8, 0.6]]), ("seg", "depth"), {"1": 2})
        >>> [text.get_text() for text in similarity(gates).texts]
        ['1.00', '0.96', '0.96', '1.00']
    """
    matrix = _read(net)
    scale = {"vmin": -1, "cmap": "RdBu_r"} if centred else {"vmin": 0, "cmap": "Blues"}
    ax = _heat_map(
        gates.similarity(matrix, centred),
        ax,
        vmax=1,
        label="centred cosine" if centred else "cosine",
        annot=len(matrix.tasks) <= ANNOTATED,
        fmt=".2f",
        square=True,
        **scale,
    )
    places = [task + 0.5 for task in range(len(matrix.tasks))]
    ax.set_xticks(places, matrix.tasks, rotation=90)
    ax.set_yticks(places, matrix.tasks, rotation=0)
    return ax


def capacity(net: nn.Module | Importance, ax: Axes | None = None) -> Axes:
    """Draw each task's capacity, and its shared and its independent part, as bars.

    The squares of the two parts add up to the square of the capacity
    (:func:`tssbn.gates.capacity_split`).

    Args:
        net: A network with σ layers, or its importances.
        ax: Axes to draw on; by default those of a new figure.

    Example:
        >>> gates = Importance(torch.tensor([[0.8, 0.0], [0.0, 0.4]]), ("seg", "depth"), {"1": 2})
        >>> [f"{bar.get_width():.1f}" for bar in capacity(gates).containers[0]]
        ['0.4', '0.2']
    """
    import seaborn

    matrix = _read(net)
    shared, independent = gates.capacity_split(matrix)
    parts = {"capacity": gates.capacity(matrix), "shared": shared, "independent": independent}
    seaborn.barplot(
        {
            "task": [*matrix.tasks] * len(parts),
            "part": [part for part in parts for _ in matrix.tasks],
            "mean importance": torch.cat(list(parts.values())).numpy(),
        },
        y="task",
        x="mean importance",
        hue="part",
        ax=(ax := ax or _axes()),
    )
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(parts))
    ax.set_ylabel("")
    return ax


def _read(net: nn.Module | Importance) -> Importance:
    return net if isinstance(net, Importance) else gates.importance(net)


def _axes() -> Axes:
    from matplotlib import pyplot

    return pyplot.subplots()[1]


def _heat_map(values: torch.Tensor, ax: Axes | None, label: str, **options: object) -> Axes:
    import seaborn

    ax = ax or _axes()
    bar = {"label": label}
    seaborn.heatmap(
        values.numpy(), ax=ax, cbar_kws=bar, xticklabels=False, yticklabels=False, **options
    )
    ax.grid(False)
    return ax
