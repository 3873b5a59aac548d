"""The figures and tables of the chapter on capacity: what tasks share by their gates, and nulls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from torch import Tensor

from tssbn import gates, plots
from tssbn.gates import Importance

if TYPE_CHECKING:
    import pandas

    from tssbn.records import SavedRuns

__all__ = ["bars", "beside_shuffled", "claim", "figure_3", "knobs", "pairs", "table", "training"]

SHARED, REST = plots.COLORS["blue"], "#C9DFEC"  # of a capacity: what others explain, and all of it
NAMED = 12  # tasks up to which each bar has a name
SHUFFLES = 10
HARDER, CLOSER = ("units", "frequency", "noise"), ("cosine", "overlap", "digits")
GAP, NULL = "capacity, second − first", "correlation of shuffled gates"


def claim(nets: Sequence[Importance]) -> str:
    """Say in a sentence what tasks share on rooms, and what shuffled gates share.

    Args:
        nets: The gates of each run.
    """
    from tssbn.claims import nulls

    def percent(net: Importance) -> float:
        return 100 * (gates.capacity_split(net).shared / gates.capacity(net)).mean().item()

    if not nets:
        return "What tasks share on rooms is open: there are no runs."
    found = {
        arm: np.mean(of) for arm, of in nulls.beside_shuffled("rooms", nets, percent).values.items()
    }
    return (
        f"On rooms ({len(nets)} runs) the other tasks' gates explain {found['gates']:.0f} % of a "
        f"task's capacity; shuffled gates give {found['shuffled']:.0f} %, an untrained network "
        "100 %."
    )


def beside_shuffled(net: Importance) -> Figure:
    """Draw an importance matrix, and the same shuffled within layers below it.

    Example:
        >>> net = Importance(torch.full((2, 4), 0.5), ("seg", "depth"), {"1": 4})
        >>> beside_shuffled(net).axes[0].get_title()
        'One of the two was shuffled'
    """
    figure, axes = plots.plt.subplots(2, 1, figsize=(7, 4))
    dice = torch.Generator().manual_seed(0)
    for ax, each in zip(axes, (net, gates.permuted(net, dice)), strict=True):
        plots.importance(each, ax)
    axes[0].set_xticks([])
    axes[0].set_title("One of the two was shuffled")
    return figure


def bars(
    ax: Axes, capacity: ArrayLike, shared: ArrayLike, null: ArrayLike, tasks: Sequence[str]
) -> None:
    """Draw each task's capacity as a bar, its shared part dark, and a black mark for the null.

    Args:
        capacity: (runs, T); means over runs are drawn.
        shared: (runs, T), the part of the capacity that the other tasks' gates explain, 0 to 1.
        null: (runs, T), the same of shuffled gates.
        tasks: T names; of more than twelve none is written, and the largest capacity is on top.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> bars(ax, [[0.5, 0.4]], [[0.8, 0.5]], [[0.9, 0.5]], ["seg", "depth"])
        >>> [f"{bar.get_width():.1f}" for bar in ax.patches]
        ['0.5', '0.4', '0.4', '0.2']
    """
    whole, part, chance = (np.mean(np.atleast_2d(each), 0) for each in (capacity, shared, null))
    few = len(tasks) <= NAMED
    order = range(len(tasks)) if few else np.argsort(-whole)
    whole, part, chance = whole[order], part[order], chance[order]
    places, height = np.arange(len(tasks)), 0.7 if few else 1.0
    ax.barh(places, whole, height, color=REST)
    ax.barh(places, whole * part, height, color=SHARED)
    ax.vlines(whole * chance, places - height / 2, places + height / 2, color="black", lw=2)
    ax.set_yticks(places if few else [], [task.replace("_", " ") for task in tasks if few])
    ax.set(xlim=(0, None), ylim=(len(tasks) - 0.5, -0.5), xlabel="capacity")
    ax.grid(axis="y", visible=False)


def figure_3(
    nets: Mapping[str, Sequence[Importance]], shared: Callable[[Tensor], Tensor]
) -> Figure:
    """Draw Figure 3 of arXiv 2512.20420 for saved networks, with shuffled gates.

    Args:
        nets: By benchmark, the gates of each run.
        shared: Gives each task's shared part, (T, F) to (T,).
    """
    figure, axes = plots.plt.subplots(1, len(nets), figsize=(7.5, 3), sharex=True, squeeze=False)
    for ax, (name, found) in zip(axes.flat, nets.items(), strict=True):
        whole = [gates.capacity(net) for net in found]
        part = [shared(net.values) for net in found]
        null = [torch.stack(_shuffled(net, shared)).mean(0) for net in found]
        bars(ax, whole, part, null, found[0].tasks)
        ax.set_title(f"{name}, n = {len(found)}", size=10)
    figure.suptitle("The shared part of shuffled gates is about as large", size=11)
    figure.legend(
        [Patch(color=REST), Patch(color=SHARED), axes.flat[0].vlines([], 0, 0, color="black")],
        ["capacity", "shared part", "shared part of shuffled gates"],
        loc="outside lower center",
        ncols=3,
    )
    return figure


def table(
    nets: Mapping[str, Sequence[Importance]], shared: Callable[[Tensor], Tensor]
) -> pandas.DataFrame:
    """Show capacities and the mean shared part, beside that of shuffled gates.

    Args:
        nets: By benchmark, the gates of each run.
        shared: Gives each task's shared part, (T, F) to (T,).
    """
    import pandas

    from tssbn.claims import above

    rows = {}
    for name, found in nets.items():
        whole = torch.stack([gates.capacity(net) for net in found])
        part = np.array([100 * shared(net.values).mean() for net in found])
        null = np.array([100 * torch.stack(_shuffled(net, shared)).mean() for net in found])
        rows[name] = {
            "runs": len(found),
            "capacities": f"{whole.min():.2f} to {whole.max():.2f}",
            "shared, %": f"{part.mean():.0f}",
            "shuffled, %": f"{null.mean():.0f}",
        }
        if effect := above(part - null):
            rows[name]["difference"] = effect.interval
    return pandas.DataFrame(rows).T


def training(
    runs: Mapping[str, SavedRuns],
    shared: Callable[[Tensor], Tensor],
    law: Callable[[np.ndarray, int], np.ndarray],
) -> Axes:
    """Draw how the shared part falls while gates spread, a path for each run from 100 % on.

    The spread is s / m, from the mean variance s² of a row and the mean m of all gates.

    Args:
        runs: By benchmark.
        shared: Gives each task's shared part, (T, F) to (T,).
        law: Gives the shared part that is expected of a spread, and of so many tasks.
    """
    _, ax = plots.plt.subplots(figsize=(7, 3.2))
    colors = plots.COLORS["blue"], plots.COLORS["green"], plots.COLORS["purple"]
    counts, top = set(), 0.0
    for color, (name, saved) in zip(colors, runs.items(), strict=False):
        for run in saved:
            nets = [run.gates(epoch) for epoch in run.gate_epochs]
            rows = [net.values for net in nets]
            x = [float(r.var(1, correction=0).mean().sqrt() / r.mean()) for r in rows]
            y = [100 * float(shared(r).mean()) for r in rows]
            null = [100 * float(_shuffled(net, shared, 1)[0].mean()) for net in nets]
            (line,) = ax.plot([0, *x], [100, *y], "o-", ms=4, lw=0.9, color=color)
            ax.plot(x, null, "o", ms=6, mfc="none", color="black", zorder=3)
            top = max(top, *x)
        line.set_label(f"{name}, {len(run.tasks)} tasks")
        counts.add(len(run.tasks))
    ax.plot([], [], "o", ms=6, mfc="none", color="black", label="the same gates, shuffled")
    x = np.linspace(0, 1.05 * top, 100)
    for count, style in zip(sorted(counts), ("-", "--"), strict=False):
        label = f"formula, {count} tasks"
        ax.plot(x, 100 * law(x, count), style, color="#999999", lw=2.5, zorder=0, label=label)
    ax.set(xlabel="spread of the gates, r = s / m", ylabel="shared, % of capacity")
    ax.set_title("The shared part falls as gates spread, shuffled or not")
    ax.legend(loc="lower left")
    return ax


def pairs(
    nets: Mapping[str, Sequence[Importance]], correlation: Callable[[Importance], Tensor]
) -> pandas.DataFrame:
    """Show the correlations of pairs of tasks, and which are outside of those of shuffled gates.

    Args:
        nets: By benchmark, the gates of each run.
        correlation: Gives the correlations of all pairs, (P,).
    """
    import pandas

    rows = {}
    for name, found in nets.items():
        r = torch.stack([correlation(net) for net in found])
        null = torch.stack([torch.stack(_shuffled(net, correlation, whole=True)) for net in found])
        low, high = (null.quantile(part).item() for part in (0.025, 0.975))
        below, over = (100 * np.mean(x.numpy()) for x in (r < low, r > high))
        rows[name] = {
            "mean correlation": f"{r.mean():+.2f}",
            "95 % of shuffled": f"{low:+.1f} to {high:+.1f}",
            "pairs below": f"{below:.0f} %",
            "above": f"{over:.0f} %",
        }
    return pandas.DataFrame(rows).T


def knobs(
    gap: Callable[[Importance], Tensor],
    correlation: Callable[[Importance], Tensor],
    separation: Callable[[Importance], Tensor],
) -> Figure:
    """Draw what is read from gates while a knob of two tasks is turned, of ``book/studies``.

    Grey is where 95 % of the correlations of shuffled gates lie.
    Titles have the change from the first to the last value, of the capacity gap or the correlation,
    with its 95 % interval. Thin lines are seeds.

    Args:
        gap: Gives the capacity of the second task less that of the first, of the gates of two.
        correlation: Gives a number of the same gates.
        separation: Gives another.
    """
    from tssbn.claims import above, studies

    figure, axes = plots.plt.subplots(2, 3, figsize=(7.5, 5), sharey="row")
    for ax, knob in zip(axes.flat, HARDER + CLOSER, strict=True):
        shown = {GAP: (gap, "blue")}
        if knob in CLOSER:
            shown = {"separation": (separation, "orange"), "correlation": (correlation, "blue")}
        for label, (measure, color) in shown.items():
            values, numbers = studies.by_value(knob, lambda net, of=measure: float(of(net)))
            places, color = range(len(values)), plots.COLORS[color]
            ax.plot(places, numbers, color=color, lw=0.7, alpha=0.5)
            ax.plot(places, numbers.mean(1), "o-", ms=4, color=color, label=label)
            ax.set_xticks(places, [str(v).replace(" ", "\n") for v in values], fontsize=8)
        if knob in CLOSER:
            _, null = studies.by_value(
                knob, lambda net: float(_shuffled(net, correlation, 1, whole=True)[0])
            )
            ax.axhspan(*np.quantile(null, (0.025, 0.975)), color="#DDDDDD", zorder=0, label=NULL)
        ax.axhline(0, color="black", lw=0.8)
        ax.set_title(
            f"{knob}, n = {numbers.shape[1]}\n{above(numbers[-1] - numbers[0]).interval}", size=9.5
        )
    axes[0, 0].set_ylabel(GAP)
    figure.suptitle(
        "Capacity follows units, not difficulty; gates follow similarity\n"
        "(below each name: change of the blue line, with its 95 % interval)",
        size=10,
    )
    handles = axes[1, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    return figure


def _shuffled(
    net: Importance, measure: Callable, times: int = SHUFFLES, whole: bool = False
) -> list[Tensor]:
    """A measure of shuffled gates: of their rows, or of the importances as a whole."""
    dice = torch.Generator().manual_seed(0)
    nets = [gates.permuted(net, dice) for _ in range(times)]
    return [measure(each if whole else each.values) for each in nets]
