"""The tables and figures of the chapter on transformers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes

from tssbn import plots, records
from tssbn.benchmarks.counts import Row
from tssbn.methods import find_method
from tssbn.timing.rounds import relative

if TYPE_CHECKING:
    from tssbn.claims import Effect, Measured

__all__ = [
    "Adapted",
    "adapted",
    "frame",
    "over_heads",
    "separate_passes",
    "trained",
]

HEADS = "heads-only"
SIDES = {  # of a name, where the right of its mark is taken
    "left": ("tssbn-lora", "polyhistor", "vl-adapter", "lora", "compacter"),
    "below": ("mtlora+", "adapter", "hps", "stl"),
    "above": ("hyperformer",),
    "aside": ("tssbn-frozen",),
}
PLACES = {
    "right": (7, -3, "left"),
    "left": (-7, -3, "right"),
    "below": (0, -15, "center"),
    "aside": (5, -11, "left"),
    "above": (0, 7, "center"),
}


def frame(
    rows: Iterable[Row],
    counted: Mapping[str, tuple[int, int, int]],
    passes: Mapping[str, float],
) -> pd.DataFrame:
    """Show rows of the paper's table beside what was counted here.

    Args:
        rows: of a table of :mod:`tssbn.benchmarks.counts`.
        counted: by method, trained parameters in the trunk, those of the decoders, and MACs.
        passes: by method, the work in passes of the trunk.

    Example:
        >>> from tssbn.benchmarks.counts import TABLES
        >>> row = TABLES["4"].rows[2]
        >>> frame([row], {"hps": (27_517_818, 1_946_624, 0)}, {"hps": 1.0}).loc["HPS", "sum, M"]
        '29.46'
    """
    lines = {}
    for row in rows:
        trunk, decoders, _ = counted[row.method]
        ours = f"{trunk:,}", f"{(trunk + decoders) / 1e6:.2f}", f"{row.printed:.2f}"
        met = f"{row.trunk:,} + {row.decoders:,}", row.fit, f"{passes[row.method]:.2f}"
        lines[_title(row.method)] = [*ours, *met]
    columns = ["trunk", "sum, M", "paper, M", "met by", "from", "work in passes"]
    return pd.DataFrame(lines, columns).T


def trained(
    ax: Axes,
    counted: Mapping[str, tuple[int, int, int]],
    paper: Mapping[str, Mapping[str, float]],
    passes: Mapping[str, float],
    gates: int,
) -> None:
    """Draw printed Δm over the parameters that are trained in the trunk, a mark for each method.

    Circles make several passes, squares about one.

    Args:
        counted: by method, trained parameters in the trunk, those of the decoders, and MACs.
        paper: rows of a benchmark's ``paper``; that without a ``"delta"`` is the baseline, at 0.
        passes: by method, the work in passes of the trunk.
        gates: parameters of TSσLN without what is trained beside them; a hollow mark.

    Example:
        >>> _, ax = plots.plt.subplots()
        >>> paper = {"stl": {}, "lora": {"delta": -1}, "bitfit": {"delta": -2}}
        >>> paper["tssbn-frozen"] = {"delta": 0.5}
        >>> sizes = zip(paper, (1000, 100, 10, 200))
        >>> counted = {method: (size, 0, 0) for method, size in sizes}
        >>> trained(ax, counted, paper, {"stl": 4, "lora": 4, "bitfit": 4, "tssbn-frozen": 4}, 20)
        >>> [text.get_text() for text in ax.texts]
        ['γ and β alone', 'STL', 'LoRA', 'BitFit', 'TSσLN']
    """
    from tssbn.claims.correlation import rank_correlation

    delta = {method: row.get("delta", 0.0) for method, row in paper.items()}
    size = {method: trunk for method, (trunk, _, _) in counted.items()}
    own, one = plots.COLORS["blue"], plots.COLORS["orange"]
    ax.axhline(0, color="black", lw=1)
    at = gates, delta["tssbn-frozen"]
    ax.plot([gates, size["tssbn-frozen"]], [at[1]] * 2, ":", color=own, lw=1)
    ax.plot(*at, "o", color=own, mfc="white", ms=7)
    ax.annotate("γ and β alone", at, (0, 8), textcoords="offset points", ha="center", fontsize=8.5)
    for method, x in size.items():
        several = passes[method] > 2
        ax.plot(x, delta[method], *("os"[not several],), color=own if several else one, ms=7)
        side = next((side for side, names in SIDES.items() if method in names), "right")
        *shift, align = PLACES[side]
        ax.annotate(
            _title(method),
            (x, delta[method]),
            shift,
            textcoords="offset points",
            ha=align,
            fontsize=8.5,
        )
    ax.plot([], [], "o", color=own, label="four passes or more")
    ax.plot([], [], "s", color=one, label="about one pass")
    ax.set(xscale="log", xlabel="parameters trained in the trunk", ylabel="Δm, %, as printed")
    ax.margins(x=0.12)
    rho, low, high = rank_correlation([*size.values()], [delta[method] for method in size])
    ax.set_title(
        f"Rank correlation of the two: {rho:.2f} ({low:.2f} to {high:.2f}, n = {len(size)})"
    )
    ax.legend(loc="lower right")


@dataclass(frozen=True)
class Adapted:
    """What a method made of pretrained trunks.

    Attributes:
        method: its name.
        trunk: parameters that it trains in the trunk.
        passes: its work, in passes of the trunk.
        gain: its score minus that of the heads alone.
    """

    method: str
    trunk: int
    passes: float
    gain: Effect


def over_heads(benchmark: str, found: Measured) -> list[Adapted]:
    """List what each method of a measurement gains over the heads alone.

    Those are left out whose gain has no interval, because one of the two has fewer than two runs.

    Args:
        benchmark: of the saved runs, in which sizes and work are.
        found: scores by method, those of ``"heads-only"`` among them.

    Raises:
        FileNotFoundError: a method has no saved run with the benchmark's own settings.
        ValueError: there are no scores of the heads alone.
    """
    if HEADS not in found.values:
        raise ValueError(f"found has no {HEADS!r}, but {', '.join(found.values)}")
    macs, rows = records.of(benchmark, HEADS)[0]["macs"], []
    for method in found.values:
        if method == HEADS or (gain := found.against(method, HEADS)[HEADS]) is None:
            continue
        run = records.of(benchmark, method)[0]
        size = run["parameters"] - run["decoder_parameters"]
        rows.append(Adapted(method, size, run["macs"] / macs, gain))
    return rows


def adapted(ax: Axes, rows: Sequence[Adapted], lines: Mapping[str, float]) -> None:
    """Draw a line for each row with its gain and its interval; the fewest parameters come first.

    Circles make several passes, squares about one.

    Args:
        rows: of methods that train something in the trunk.
        lines: gains to draw across the figure, by label.

    Example:
        >>> from tssbn.claims import Effect
        >>> gain = Effect(8.0, error=1.0, df=10, critical=2.2, n=(3, 3))
        >>> _, ax = plots.plt.subplots()
        >>> adapted(ax, [Adapted("lora", 6144, 2.0, gain)], {"constant": -20.0})
        >>> [text.get_text() for text in ax.get_yticklabels()]
        ['LoRA  6,144']
    """
    ax.axvline(0, color="black", lw=1)
    for label, x in lines.items():
        ax.axvline(x, color="black", lw=1, ls=":")
        ax.annotate(label, (x, 0), (4, 5), ax.get_xaxis_transform(), "offset points", size=8)
    rows = sorted(rows, key=lambda row: -row.trunk)
    for height, row in enumerate(rows):
        one = row.passes < 1.8
        look = {"fmt": "s" if one else "o", "color": plots.COLORS["orange" if one else "blue"]}
        ax.errorbar(row.gain.value, height, xerr=row.gain.half_width, ms=6, **look)
    names = [f"{_title(row.method)}  {row.trunk:,}" for row in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.grid(axis="y", visible=False)
    ax.margins(y=0.1)
    ax.plot([], [], "o", color=plots.COLORS["blue"], label="a pass for each task")
    ax.plot([], [], "s", color=plots.COLORS["orange"], label="about one pass")


def separate_passes(cost: Mapping[str, Any], methods: Iterable[str]) -> pd.DataFrame:
    """Show time and memory of separate passes, relative to those of stacked ones.

    Args:
        cost: of the study `stacking_cost`.
        methods: those to show.

    Example:
        >>> rounds = {"separate": [2.0, 3.0, 4.0], "stacked": [2.0, 2.0, 2.0]}
        >>> memory = {"separate": 30.0, "stacked": 60.0}
        >>> cost = {"seconds": {"lora": rounds}, "memory_mib": {"lora": memory}}
        >>> separate_passes(cost, ["lora"]).loc["LoRA"].tolist()
        ['1.50 (1.25 to 1.75)', '0.50']
    """
    lines = {}
    for method in methods:
        seconds, memory = cost["seconds"][method], cost["memory_mib"][method]
        low, time, high = relative(seconds["separate"], seconds["stacked"])
        lines[find_method(method).title] = [
            f"{time:.2f} ({low:.2f} to {high:.2f})",
            f"{memory['separate'] / memory['stacked']:.2f}",
        ]
    return pd.DataFrame(lines, ["time (quartiles)", "peak memory"]).T


def _title(method: str) -> str:
    """A method's name on a transformer, in short."""
    title = find_method(method).title.replace(", frozen", "").removesuffix(" (our reading)")
    return title.replace("TSσBN", "TSσLN").replace("TSBN", "TSLN")
