"""The figures of the chapter on gate rates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from tssbn import plots
from tssbn.methods import find_method

if TYPE_CHECKING:
    from tssbn.claims import Effect
    from tssbn.claims.sweeps import Sweep
    from tssbn.records import SavedRuns

__all__ = ["apart", "histograms", "paths", "sweeps"]

MARKS = "o", "s", "^", "v", "P"


def histograms(runs: Mapping[float, "SavedRuns"]) -> Figure:
    """Draw a histogram of all gates for each gate rate, with the mean score in its title.

    Args:
        runs: by gate rate, of a benchmark whose tasks have one metric.

    Returns:
        The figure.
    """
    figure, axes = plots.plt.subplots(1, len(runs), figsize=(8, 2.4), sharey=True, squeeze=False)
    for ax, (rate, of) in zip(axes.flat, runs.items(), strict=True):
        gates = torch.cat([network.values.flatten() for network in of.gates()])
        plots.gate_histogram(ax, gates, plots.method_color("tssbn"))
        score = of.scores().mean(axis=None)
        ax.set(ylabel="", xticks=[0, 0.5, 1], xticklabels=["0", "½", "1"])
        ax.set_title(f"gate rate {rate:g}:\nscore {score:.2f}, n = {len(of)}", fontsize=9)
    axes[0, 0].set_ylabel("share of gates")
    figure.supxlabel("gate σ(γ), all layers and tasks", fontsize=10)
    return figure


def paths(found: Mapping[float, Tensor], useful: Tensor) -> Figure:
    """Draw gates over the steps, a panel for each gate rate; those that matter are blue.

    Args:
        found: by gate rate, the gates σ(γ) after each step, (steps, gates).
        useful: which of the gates matter, (gates,).

    Returns:
        The figure.

    Example:
        >>> figure = paths({0.1: torch.full((2, 2), 0.5)}, torch.tensor([True, False]))
        >>> [len(ax.lines) for ax in figure.axes]
        [2]
    """
    figure, axes = plots.plt.subplots(1, len(found), figsize=(8, 2.5), sharey=True, squeeze=False)
    for ax, (rate, gates) in zip(axes.flat, found.items(), strict=True):
        others = ax.plot(gates[:, ~useful], color="#999999", lw=0.7)
        matter = ax.plot(gates[:, useful], color=plots.COLORS["blue"], lw=0.7)
        ax.set(title=f"gate rate {rate:g}", xlabel="step", ylim=(-0.02, 1.02))
    axes[0, 0].set_ylabel("gate σ(γ)")
    axes[0, 0].legend([matter[0], others[0]], ["matters", "does not"], loc="upper left")
    return figure


def sweeps(found: Sequence["Sweep"]) -> Figure:
    """Draw the gains of TSBN and TSσBN over HPS by gate rate, a panel for each sweep.

    Args:
        found: of :func:`tssbn.claims.sweeps.sweep`.

    Returns:
        The figure.
    """
    columns = 2
    rows = -(-len(found) // columns)
    size = (8, 2.5 * rows)
    figure, axes = plots.plt.subplots(rows, columns, figsize=size, sharex=True, squeeze=False)
    for ax in axes.flat[len(found) :]:
        ax.set_axis_off()
    for ax, sweep in zip(axes.flat, found, strict=False):
        for method, shift in zip(sweep.rates, (0.95, 1.05), strict=True):
            line = {"color": plots.method_color(method), "label": find_method(method).title}
            _with_intervals(ax, sweep.gains(method), shift, "o-", **line)
        ax.axhline(0, color="black", lw=1)
        ax.set(xscale="log", title=f"{sweep.title}: {sweep.about}")
        ax.title.set_size(10)
    axes[0, 0].legend()
    figure.supxlabel("gate rate: multiplier times base rate", fontsize=10)
    figure.supylabel("Δm minus that of HPS, points", fontsize=10)
    return figure


def apart(ax: Axes, found: Sequence["Sweep"], printed: "Sweep") -> None:
    """Draw what TSσBN is better by than TSBN at the same gate rate.

    Args:
        found: our sweeps, drawn a little apart from each other; those without a rate that both
            methods have are left out.
        printed: the paper's, as diamonds.
    """
    found = [sweep for sweep in found if sweep.bounded()]
    values = {rate: effect.value for rate, effect in printed.bounded().items()}
    ax.plot(values.keys(), values.values(), "D-", color="black", mfc="white", label=printed.title)
    colors = [plots.COLORS[name] for name in ("orange", "green", "purple", "sky")]
    for place, (sweep, color, mark) in enumerate(zip(found, colors, MARKS, strict=False)):
        shift = 1.12 ** (place - (len(found) - 1) / 2)
        label = f"{sweep.title}: {sweep.about}"
        _with_intervals(ax, sweep.bounded(), shift, f"{mark}-", color=color, label=label)
    ax.axhline(0, color="black", lw=1)
    ax.set(xscale="log", xlabel="gate rate: multiplier times base rate")
    ax.set_ylabel("Δm of TSσBN minus TSBN, points")
    fastest = [apart[max(apart)] for apart in (sweep.bounded() for sweep in (printed, *found))]
    ahead = sum(effect.low > 0 for effect in fastest)
    ax.set_title(f"At the fastest rate TSσBN is ahead on {ahead} of {len(fastest)} data sets")
    ax.legend(loc="upper left")


def _with_intervals(
    ax: Axes, effects: Mapping[float, "Effect"], shift: float, mark: str, **line
) -> None:
    """Draw effects over their rates times a shift, with their intervals where they have one."""
    values = [effect.value for effect in effects.values()]
    widths = [effect.half_width for effect in effects.values()]
    look = {"fmt": mark, "ms": 5, "lw": 1.5, "elinewidth": 1, **line}
    ax.errorbar(shift * np.array([*effects]), values, widths if any(widths) else None, **look)
