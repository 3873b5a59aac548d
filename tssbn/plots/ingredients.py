"""The figures of the chapter on ingredients."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tssbn import plots

if TYPE_CHECKING:
    from tssbn.claims import Effect

__all__ = ["gains", "stages"]


def stages(beds: Mapping[str, Mapping[int, "Effect"]]) -> Figure | None:
    """Draw what gates from a stage on are worth beside gates in all stages, a panel for each bed.

    Grey around zero is what so many runs would hardly show, :attr:`tssbn.claims.Effect.visible`.

    Args:
        beds: by title, of :func:`tssbn.claims.ladder.by_stage`, whose last is HPS. Those without
            gates from a later stage have no panel.

    Returns:
        The figure, None where no bed has a panel.
    """
    beds = {bed: found for bed, found in beds.items() if len(found) > 1}
    if not beds:
        return None
    rows = -(-len(beds) // 2)
    shape = {"figsize": (8, 2.8 * rows), "squeeze": False}
    figure, axes = plots.plt.subplots(rows, min(len(beds), 2), **shape)
    for ax in axes.flat[len(beds) :]:
        ax.remove()
    for ax, (bed, found) in zip(axes.flat, beds.items(), strict=False):
        last, visible = max(found), max(effect.visible for effect in found.values())
        ax.axhspan(-visible, visible, color="#E4E4E4", zorder=0)
        ax.axhline(0, color="black", lw=1)
        for k, effect in found.items():
            color = plots.method_color("hps" if k == last else "tssbn")
            ax.errorbar(k, effect.value, yerr=effect.half_width, fmt="o", color=color)
        ax.plot(0, 0, "o", color=plots.method_color("tssbn"))
        labels = ["0\nTSσBN", *map(str, range(1, last)), f"{last}\nHPS"]
        ax.set_xticks(range(last + 1), labels)
        n = min(min(effect.n) for effect in found.values())
        beyond = sum(effect.low > 0 or effect.high < 0 for effect in found.values())
        ax.set(xlabel="k, the first stage with gates")
        said = f"{bed}\nn ≥ {n}: {beyond} of {len(found)} beyond zero"
        ax.set_title(said, fontsize=10)
        ax.grid(axis="x", visible=False)
    for ax in axes[:, 0]:
        ax.set_ylabel("Δm minus TSσBN's")
    return figure


def gains(ax: Axes, rows: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Draw Δm of networks with their own gates and with gates that are not theirs, a dot a run.

    Args:
        rows: by label, Δm of each run by what was done to the gates: ``""`` for nothing.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> gains(ax, {"HPS": {"": [-8.0]}, "TSσLN": {"": [-7.0], "shuffled": [-59.0]}})
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['own gates', 'shuffled']
    """
    marks = {"": ("o", plots.COLORS["blue"]), "shuffled": ("x", "#888888")}
    marks["swapped"] = "+", "#888888"
    labelled = set()
    for height, by_gates in enumerate(rows.values()):
        for gates, values in by_gates.items():
            mark, color = marks[gates]
            label = gates or "own gates"
            new = len(by_gates) > 1 and label not in labelled
            ax.plot(values, [height] * len(values), mark, ms=6, color=color, label=label * new)
            labelled |= {label} if new else set()
    ax.axvline(0, color="black", lw=1)
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend(loc="upper left")
