"""Scores beside their baselines: what a network adds to a constant answer, or loses by sharing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tssbn import plots
from tssbn.methods import find_method

__all__ = ["learned", "skills", "trades"]

MARKS = ("D", "black"), ("s", "orange"), ("o", "blue"), ("^", "green")
TASKS = ("green", "^"), ("purple", "s"), ("sky", "D")
UNITS = {"depth": ("m", 2), "disparity": ("pixels", 2), "normal": ("degrees", 0)}
KINDS = {
    "constant": "constant",
    "position": "by position",
    "tiny": "7×7 filters",
    "bigger": "U-Net",
}


def learned(saved: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Give the scores of constant answers and of small networks as a table, a row for each task.

    Of attributes there is one row, their mean. Several runs have their mean, and as many digits as
    three seeds allow.

    Args:
        saved: by set, what ``book/studies/learnable.py`` saved of it.

    Example:
        >>> scores = {"constant": [{"depth": 0.712}], "bigger": [{"depth": 0.41}, {"depth": 0.43}]}
        >>> table = learned({"rooms": {"scores": scores}})
        >>> table.loc["rooms: depth"].tolist()
        ['m', '0.71', '', '', '0.42']
    """
    rows = {}
    for name, record in saved.items():
        means = {kind: pd.DataFrame(runs).mean() for kind, runs in record["scores"].items()}
        if len(means["constant"]) > len(KINDS) + len(UNITS):
            means = {kind: pd.Series({"mean F1": values.mean()}) for kind, values in means.items()}
        for task in means["constant"].index:
            unit, digits = UNITS.get(task, ("%", 0))
            cells = [f"{means[k][task]:.{digits}f}" if k in means else "" for k in KINDS]
            rows[f"{name}: {task}"] = [unit, *cells]
    return pd.DataFrame(rows, ["unit", *KINDS.values()]).T


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
        for shift, (color, marker), task in zip(shifts, TASKS, errors, strict=False):
            bar = {"xerr": 1.96 * errors[task], "fmt": marker, "color": plots.COLORS[color]}
            right.errorbar(row[task], height + shift, **bar, label=None if height else task)
    left.set_yticks(range(len(gains)), [find_method(method).title for method in gains])
    left.set_ylim(len(gains) - 0.5, -0.5)
    left.set_xlabel("Δm over single-task networks, %")
    right.set_xlabel("gain of each task, %")
    handles = right.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(errors))
    return figure
