"""The figures of the chapter on branches."""

from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise

import numpy as np
from matplotlib.axes import Axes

from tssbn import plots

__all__ = ["prices", "shared", "tree"]

Partition = Sequence[Sequence[str]]
OF_TASKS = ("blue", "orange", "green", "purple", "red", "sky")
OF_NETWORKS = ("#000000", "#777777", "#AAAAAA")


def tree(
    ax: Axes, branches: Mapping[str, Partition], layers: Sequence[str], tasks: Sequence[str]
) -> None:
    """Draw a tree of tasks: a dot for each group at each layer, and a named end for each task.

    Args:
        branches: as :func:`tssbn.export.branches` takes them; a layer that is not named splits
            nothing.
        layers: all task-specific layers, in the order in which they run.
        tasks: up to six, each with a colour; groups of several are grey.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> tree(ax, {"b": (("left",), ("right",))}, ["a", "b"], ("left", "right"))
        >>> [text.get_text() for text in ax.texts]
        ['left', 'right']
    """
    partitions: list[Partition] = [(tuple(tasks),)]
    for layer in layers:
        partitions.append(branches.get(layer, partitions[-1]))
    places = [{t: i for i, group in enumerate(p) for t in group} for p in partitions]
    lanes = sorted(tasks, key=lambda task: [place[task] for place in places])
    colors = {task: plots.COLORS[name] for task, name in zip(tasks, OF_TASKS, strict=False)}
    heights = [
        {task: np.mean([lanes.index(t) for t in group]) for group in p for task in group}
        for p in partitions
    ]
    for depth, (before, now) in enumerate(pairwise(heights)):
        for group in partitions[depth + 1]:
            color = colors[group[0]] if len(group) == 1 else "#888888"
            x, y = [depth, depth + 1], [before[group[0]], now[group[0]]]
            ax.plot(x, y, color=color, lw=1.6, zorder=1)
            ax.plot(depth + 1, now[group[0]], "o", ms=6, color=color)
    for height, task in enumerate(lanes):
        at = len(layers) + 0.4, height
        ax.text(*at, task, va="center", fontsize=8, color=colors[task])
    ax.set(yticks=[], ylim=(len(tasks) - 0.5, -0.5), xlim=(0, 1.75 * len(layers)))
    ax.set_xticks(range(1, len(layers) + 1))
    ax.grid(visible=False)


def shared(ax: Axes, scores: Sequence[Sequence[float]], constant: float) -> None:
    """Draw the score over the number of layers that all tasks share, a line for each network.

    Args:
        scores: for each network, with 0, 1, ... shared layers.
        constant: the score of the best answer that ignores the image, a dotted line.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> shared(ax, [[0.7, 0.6], [0.8, 0.5]], constant=0.3)
        >>> len(ax.lines)
        3
    """
    for number, (values, color) in enumerate(zip(scores, cycle(OF_NETWORKS), strict=False), 1):
        ax.plot(range(len(values)), values, "o-", ms=5, color=color, label=f"network {number}")
    ax.axhline(constant, color="#555555", ls=":", label="constant baseline")
    ax.set(xlabel="layers that all tasks share", ylabel="right answers, %", ylim=(0, None))
    ax.legend(ncols=2, loc="lower left")


def prices(ax: Axes, networks: Mapping[str, Sequence[tuple[float, float]]], goal: float) -> None:
    """Draw what is lost over what is paid, a dot for each run of each network.

    Args:
        networks: by name the runs: cost, relative to a pass for each task, and change of the score
            in percent.
        goal: the change that was aimed at, below 0; down to it the figure is grey.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> prices(ax, {"tree": [(0.5, -1.2), (0.4, -0.8)]}, goal=-1)
        >>> ax.lines[0].get_xdata().tolist()
        [0.5, 0.4]
    """
    ax.axhspan(goal, 0, color="#DDDDDD", zorder=0, label=f"goal, {goal} to 0 %")
    for (name, runs), mark in zip(networks.items(), "osD^v", strict=False):
        ax.plot(*np.transpose(runs), mark, ms=7, alpha=0.8, color="black", mfc="none", label=name)
    ax.axvline(0.5, color="black", lw=1, ls=":")
    ax.set_xlim(right=0.62)
    ax.set(xlabel="cost, of a pass for each task", ylabel="change of the score, %")
    ax.legend(loc="lower right")
