"""Figures of what each task gains over a baseline."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tssbn import plots
from tssbn.claims.bed import Bed
from tssbn.methods import find_method
from tssbn.plots.experts import effects

if TYPE_CHECKING:
    import pandas

    from tssbn.claims import Effect
    from tssbn.records import SavedRuns

__all__ = [
    "effects_by_score",
    "gains",
    "gains_by_task",
    "learning_by_task",
    "over_baselines",
]


def gains(
    ax: Axes,
    found: Mapping[str, Sequence[float]],
    printed: Mapping[str, float] | None = None,
    band: float = 0.0,
) -> None:
    """Draw a dot for each run of each method, a bar at their mean, a diamond for a printed number.

    Args:
        found: by method, the gain of each run in percent.
        printed: by method, a gain that was published.
        band: the error of the baseline; from -band to band the figure is grey.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> gains(ax, {"hps": [1.0, 3.0]}, {"hps": 4.0})
        >>> [[float(x) for x in line.get_xdata()] for line in ax.lines]
        [[0.0, 0.0], [1.0, 3.0], [2.0], [4.0]]
    """
    ax.axvspan(-band, band, color="#E4E4E4")
    ax.axvline(0, color="black", lw=1)
    for height, (method, values) in enumerate(found.items()):
        color = plots.method_color(method)
        ax.plot(values, [-height] * len(values), "o", alpha=0.5, color=color)
        ax.plot([np.mean(values)], [-height], "|", ms=20, mew=3, color=color)
        if method in (printed or {}):
            at = {"mfc": "white", "mec": "black", "label": "printed in the paper"}
            ax.plot([printed[method]], [-height], "D", ls="", **at)
    titles = [find_method(method).title for method in found]
    ax.set_yticks([-height for height in range(len(found))], titles)
    ax.set_ylim(-len(found) + 0.4, 0.6)
    ax.grid(axis="y", visible=False)


def gains_by_task(
    found: Mapping[str, "SavedRuns"],
    baseline: str = "stl",
    printed: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Draw the gains over a baseline, a panel for each task, see :func:`gains`.

    The grey band is the 95 % interval of the baseline's own mean. The title of a panel has the
    gain of the best answer that ignores the image.

    Args:
        found: saved runs by method, the baseline's among them.
        baseline: its method.
        printed: by method, the published scores of each task, the baseline's among them.

    Returns:
        The figure.
    """
    base, up = found[baseline].scores(), found[baseline][0]["directions"]
    blind, others = found[baseline][0].constant(), [m for m in found if m != baseline]
    tasks = len(base.columns)
    figure, axes = plots.plt.subplots(
        1, tasks, figsize=(2.7 * tasks, 3), sharey=True, squeeze=False
    )
    for ax, task in zip(axes[0], base, strict=True):

        def gain(score: float, of: float, sign: int = 1 if up[task] else -1) -> float:
            return 100 * sign * (score / of - 1)

        rows = {m: list(found[m].gains(found[baseline])[task]) for m in others}
        scores = {m: list(found[m].scores()[task]) for m in found}
        bed = Bed(scores, (up[task],), baseline, separate=(baseline,))
        paper = {m: row for m, row in (printed or {}).items() if task in row}
        paper = {m: gain(row[task], paper[baseline][task]) for m, row in paper.items()}
        gains(ax, rows, {m: value for m, value in paper.items() if m != baseline}, bed.band())
        mean = base[task].mean()
        ax.set_title(f"{task}\nconstant baseline: {gain(blind[task], mean):+.0f} %", fontsize=10)
    figure.supxlabel(f"gain over {find_method(baseline).title}, %", fontsize=10)
    if printed:
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles[:1], labels[:1], loc="outside lower right")
    return figure


def learning_by_task(found: Mapping[str, "SavedRuns"], labels: Mapping[str, str]) -> Figure:
    """Draw the scores on test images by epoch, a panel for each task, with one legend below.

    Args:
        found: saved runs by method.
        labels: by task, what stands at the axis of scores.

    Returns:
        The figure; see :func:`tssbn.plots.learning`.
    """
    runs = [run for of_method in found.values() for run in of_method]
    figure, axes = plots.plt.subplots(1, len(labels), figsize=(7.5, 2.6), squeeze=False)
    for ax, (task, label) in zip(axes[0], labels.items(), strict=True):
        plots.learning(ax, runs, task, list(found))
        ax.set_ylabel(label)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(found) + 1)
    return figure


def over_baselines(ax: Axes, found: "pandas.DataFrame") -> None:
    """Draw the gain of each method over several baselines, a mark for each, joined by a line.

    Args:
        found: a row for each method, by title, and a column for each baseline; in percent.

    Example:
        >>> import pandas
        >>> _, ax = plots.plt.subplots()
        >>> over_baselines(ax, pandas.DataFrame({"ours": [1.0], "theirs": [-2.0]}, ["HPS"]))
        >>> [[float(x) for x in line.get_xdata()] for line in ax.lines]
        [[1.0], [-2.0], [0.0, 0.0]]
    """
    heights = range(len(found))[::-1]
    ax.hlines(heights, found.min(axis=1), found.max(axis=1), color="#BBBBBB")
    marks = zip(found, "oDs^", ("green", "purple", "sky", "red"), strict=False)
    for baseline, marker, color in marks:
        look = {"ms": 7, "ls": "", "color": plots.COLORS[color], "label": baseline}
        ax.plot(found[baseline], heights, marker, **look)
    ax.axvline(0, color="black", lw=1)
    ax.set_yticks(heights, found.index)
    ax.grid(axis="y", visible=False)


def effects_by_score(found: Mapping[str, Mapping[str, "Effect"]], reference: str) -> Figure:
    """Draw the differences of methods from one of them, a panel for each score.

    Args:
        found: by score, the effects by method.
        reference: the method that the others are compared with.

    Returns:
        The figure; see :func:`tssbn.plots.experts.effects`.
    """
    size = (max(3.6, 2.3 * len(found)), 0.8 + 0.35 * max(map(len, found.values())))
    figure, axes = plots.plt.subplots(1, len(found), figsize=size, sharey=True, squeeze=False)
    for ax, (score, of_score) in zip(axes[0], found.items(), strict=True):
        titled = {find_method(arm).title: effect for arm, effect in of_score.items()}
        effects(ax, titled)
        ax.set_title(score, fontsize=10)
    figure.supxlabel(f"points minus {find_method(reference).title}", fontsize=10)
    return figure
