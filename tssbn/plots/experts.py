"""The figures of the chapter on experts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tssbn import plots
from tssbn.methods import find_method

if TYPE_CHECKING:
    from tssbn.claims import Effect

__all__ = ["bed_effects", "distances", "effects", "prices"]


def distances(ax: Axes, paths: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Draw how far two tasks' mixtures are apart over the steps, a line for each run.

    Args:
        paths: for each way to start, the runs.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> distances(ax, {"equal": [[0.0, 0.5], [0.0, 1.0]]})
        >>> ax.get_title()
        'At the end the mixtures are 0.75 apart (2 runs, 0.50 to 1.00)'
    """
    ends = [path[-1] for group in paths.values() for path in group]
    for color, (start, group) in zip(("blue", "orange"), paths.items(), strict=False):
        lines = ax.plot(np.transpose(group), color=plots.COLORS[color], lw=1.3)
        lines[0].set_label(start)
    ax.axhline(1, color="black", lw=1, ls=":")
    ax.set(xlabel="step", ylabel="distance of the mixtures", ylim=(-0.02, 1.08))
    mean, low, high = np.mean(ends), min(ends), max(ends)
    ax.set_title(
        f"At the end the mixtures are {mean:.2f} apart ({len(ends)} runs, {low:.2f} to {high:.2f})"
    )
    ax.legend(loc="lower right", ncols=2)


def prices(
    ax: Axes, rows: Mapping[str, Mapping[str, float]], passes: Mapping[str, float], band: float
) -> None:
    """Draw printed Δm over the passes of the trunk, a labelled dot for each method.

    Args:
        rows: of a benchmark's ``paper``; the one without a ``"delta"`` is the baseline, at 0.
        passes: of each method.
        band: from -band to band the figure is grey.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> prices(ax, {"hps": {}, "ple": {"delta": 0.3}}, {"hps": 1, "ple": 6}, band=1)
        >>> [text.get_text() for text in ax.texts]
        ['HPS', 'PLE']
    """
    ax.axhspan(-band, band, color="#E4E4E4", label="as far from HPS as chance alone")
    for method, row in rows.items():
        title, at = find_method(method).title, (passes[method], row.get("delta", 0.0))
        ax.plot(*at, "o", ms=8, color=plots.method_color(method))
        ax.annotate(title, at, (8, -3), textcoords="offset points", fontsize=9)
    ax.set(xlabel="passes of the trunk for one image", ylabel="Δm against HPS, %, as printed")
    ax.margins(x=0.15)
    ax.legend(loc="lower right")


def effects(ax: Axes, found: Mapping[str, "Effect"]) -> None:
    """Draw effects with their intervals, one below the other.

    Grey around zero is what so many runs would hardly show, :attr:`tssbn.claims.Effect.visible`.

    Args:
        found: by the label of each.
    """
    for height, effect in enumerate(found.values()):
        ax.barh(-height, 2 * effect.visible, 0.7, -effect.visible, color="#E4E4E4")
        color = plots.COLORS["blue"]
        ax.errorbar(effect.value, -height, xerr=effect.half_width, fmt="o", color=color)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks([-height for height in range(len(found))], list(found))
    ax.grid(axis="y", visible=False)


def bed_effects(beds: Mapping[str, Mapping[str, "Effect"]], reference: str) -> Figure:
    """Draw the effects of each bed in a panel of its own, see :func:`effects`.

    Args:
        beds: by title, the effects by arm; those without any have no panel.
        reference: what the arms are compared with.

    Returns:
        The figure.
    """
    beds = {bed: found for bed, found in beds.items() if found}
    rows = [1.8 + len(found) for found in beds.values()]
    figure, axes = plots.plt.subplots(
        len(beds), figsize=(7, 0.27 * sum(rows)), height_ratios=rows, squeeze=False
    )
    for ax, (bed, found) in zip(axes.flat, beds.items(), strict=True):
        effects(ax, found)
        over = sum(effect.low > 0 for effect in found.values())
        under = sum(effect.high < 0 for effect in found.values())
        n = sorted({k for effect in found.values() for k in effect.n})
        n = str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
        ax.set_title(f"{bed}, n = {n}: {over} of {len(found)} intervals above zero, {under} below")
    axes.flat[-1].set_xlabel(f"Δm minus that of {reference}, points")
    return figure
