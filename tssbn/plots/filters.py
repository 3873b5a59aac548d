"""The figures of the chapter on specialised filters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tssbn import plots
from tssbn.gates import Importance

__all__ = ["largest_shares", "losses"]


def largest_shares(beds: Mapping[str, Sequence[Importance]], tau: float = 0.5) -> Figure:
    """Draw a histogram of the largest share that a task holds of each filter.

    Args:
        beds: by title, the gates of each network.
        tau: a dashed line; filters on its right have an owner, the title says how many.

    Example:
        >>> import torch
        >>> values = torch.tensor([[0.9, 0.5], [0.1, 0.5]]).double()
        >>> gates = Importance(values, ("seg", "depth"), {"1": 2})
        >>> largest_shares({"toys": [gates]}).axes[0].get_title()
        'toys: 50 % with an owner'
    """
    figure, axes = plots.plt.subplots(
        len(beds), 1, figsize=(7, 1.25 * len(beds) + 0.6), sharex=True, squeeze=False
    )
    for ax, (title, nets) in zip(axes[:, 0], beds.items(), strict=True):
        largest = np.concatenate([(n.values / n.values.sum(0)).max(0).values.numpy() for n in nets])
        weights = np.full(len(largest), 100 / len(largest))
        ax.hist(largest, np.linspace(0, 1, 51), weights=weights, color=plots.COLORS["blue"])
        ax.axvline(tau, color="black", ls="--")
        ax.set_title(f"{title}: {100 * (largest > tau).mean():.0f} % with an owner")
        ax.set_ylabel("filters, %")
    axes[-1, 0].set(xlim=(0, 1), xlabel="largest share of a task")
    return figure


def losses(
    ax: Axes,
    matrix: Any,
    tasks: Sequence[str],
    limit: float,
    constant: Sequence[float] | None = None,
) -> None:
    """Draw what each task (a column) loses without the filters of each (a row).

    A frame is the largest loss of a column, a dot that of a row. Up to four tasks have numbers.

    Args:
        matrix: (T, T), as ``tssbn.claims.studies.losses`` gives it.
        tasks: their names.
        limit: colours are full at this loss.
        constant: what the tasks lose by the best answer that ignores the image, a last row.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> losses(ax, [[9.0, 1.0], [2.0, 8.0]], ["seg", "depth"], limit=10, constant=[20, 30])
        >>> [text.get_text() for text in ax.texts]
        ['9', '1', '2', '8', '20', '30']
    """
    matrix, names = np.asarray(matrix), [task.replace("_", " ") for task in tasks]
    whole = matrix if constant is None else np.vstack([matrix, constant])
    ax.imshow(whole, cmap="RdBu_r", vmin=-limit, vmax=limit)
    if len(names) < 5:
        for (row, column), value in np.ndenumerate(whole):
            color = "white" if abs(value) > 0.6 * limit else "black"
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=color)
    for task in range(len(names)):
        corner = task - 0.46, matrix[:, task].argmax() - 0.46
        ax.add_patch(plots.plt.Rectangle(corner, 0.92, 0.92, fill=False, lw=2))
        most = matrix[task].argmax()
        ax.plot(most + 0.32, task - 0.32, "o", ms=3.5, color="black", markeredgecolor="white")
    ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 30, fontsize=8)
    ax.set_yticks(range(len(whole)), [*names, "ignores image"][: len(whole)], fontsize=8)
    ax.grid(visible=False)
