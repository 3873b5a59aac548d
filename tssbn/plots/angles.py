"""The figure of angles between gradients of tasks, beside those within one task."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from tssbn import plots

__all__ = ["cosines"]

LOOKS = (  # of the kinds of cosines, in their order
    {"color": plots.COLORS["blue"], "alpha": 0.5},
    {"color": "black", "histtype": "step", "lw": 1.4},
    {"color": plots.COLORS["red"], "histtype": "step", "lw": 1.6, "ls": "--"},
)


def cosines(found: Mapping[str, Sequence[Mapping[str, Tensor]]]) -> Figure:
    """Draw histograms of cosines in a panel for each pair of tasks, all runs together.

    Args:
        found: by the title of a panel, the runs; of each run up to three kinds of cosines, such
            as those of two tasks and, as a null, those of one task with itself.

    Returns:
        The figure.

    Example:
        >>> figure = cosines({"a and b": [{"two tasks": torch.zeros(9)}]})
        >>> figure.axes[0].get_title()
        'a and b'
    """
    figure, axes = plots.plt.subplots(
        1, len(found), sharey=True, squeeze=False, figsize=(7, 2.7), layout="constrained"
    )
    for ax, (title, runs) in zip(axes.flat, found.items(), strict=True):
        for kind, look in zip(runs[0], LOOKS, strict=False):
            values = torch.cat([run[kind] for run in runs]).numpy()
            ax.hist(values, np.linspace(-1, 1, 41), density=True, label=kind, **look)
        ax.axvline(0, color="#777777", lw=0.8)
        ax.set_title(title, size=10)
        ax.set_xlabel("cosine")
    axes.flat[0].set_ylabel("density over steps")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure
