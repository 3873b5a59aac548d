"""Scores beside their baselines: what a network adds to a constant answer, or loses by sharing."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tssbn import plots
from tssbn.methods import find_method

__all__ = ["skills", "trades"]

MARKS = ("D", "black"), ("s", "orange"), ("o", "blue"), ("^", "green")
TASKS = "green", "purple", "sky"


def skills(ax: Axes, rows: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Draw a row of dots for each task, one for each run of each kind of answer.

    Args:
        rows: by task, by kind of answer, the skill of each run: 0 is that of the constant answer,
            1 is perfect. Up to four kinds.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> skills(ax, {"depth": {"by position": [0.2], "U-Net": [0.4, 0.5]}})
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['by position', 'U-Net']
    """
    for height, kinds in enumerate(rows.values()):
        for (kind, values), (marker, color) in zip(kinds.items(), MARKS, strict=False):
            color, label = plots.COLORS[color], None if height else kind
            ax.plot(values, [height] * len(values), marker, alpha=0.7, color=color, label=label)
    for value in (0, 1):
        ax.axvline(value, color="black", linewidth=1)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("skill: 0 is the constant answer, 1 is perfect")
    ax.legend(loc="lower right", bbox_to_anchor=(0.97, 0))


def trades(
    gains: Mapping[str, Mapping[str, float]], errors: Mapping[str, float], error: float
) -> Figure:
    """Draw Δm of each method, and beside it the gains of the tasks that Δm is the mean of.

    Intervals and the grey band are 1.96 standard errors wide to each side.

    Args:
        gains: by method, by task, in percent of the baseline.
        errors: of a task's gain, the standard error. Up to three tasks.
        error: that of Δm.

    Returns:
        The figure, of two panels.

    Example:
        >>> figure = trades({"hps": {"a": -2.0, "b": 4.0}}, {"a": 0.5, "b": 1.0}, error=0.5)
        >>> figure.axes[0].lines[1].get_xdata().tolist()
        [1.0]
    """
    figure, (left, right) = plots.plt.subplots(1, 2, figsize=(7.5, 3), sharey=True)
    left.axvspan(-1.96 * error, 1.96 * error, color="#E4E4E4")
    for ax in (left, right):
        ax.axvline(0, color="black", linewidth=1)
    shifts = np.linspace(-0.22, 0.22, len(errors))
    for height, (method, row) in enumerate(gains.items()):
        left.plot(np.mean([*row.values()]), height, "o", ms=9, color=plots.method_color(method))
        for shift, color, task in zip(shifts, TASKS, errors, strict=False):
            bar = {"xerr": 1.96 * errors[task], "fmt": "o", "color": plots.COLORS[color]}
            right.errorbar(row[task], height + shift, **bar, label=None if height else task)
    left.set_yticks(range(len(gains)), [find_method(method).title for method in gains])
    left.set_ylim(len(gains) - 0.5, -0.5)
    left.set_xlabel("Δm over single-task networks, %")
    right.set_xlabel("gain of each task, %")
    handles = right.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(errors))
    return figure
