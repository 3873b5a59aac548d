"""What balancings add to HPS and to TSσBN: gains, the chosen one, and what a step costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tssbn.claims.balanced import METHODS, balancings
from tssbn.claims.evidence import BedOfRuns
from tssbn.claims.verdict import Effect
from tssbn.timing.rounds import relative

if TYPE_CHECKING:
    import pandas

__all__ = ["answers", "chosen", "cost", "gains", "summary", "sure"]

PLAIN = "plain"


def gains(bed: BedOfRuns, method: str) -> dict[str, Effect]:
    """Give what each balancing adds to the plain sum of a method, with Dunnett's intervals.

    Args:
        bed: of :func:`tssbn.claims.balanced.balanced`.
        method: ``"HPS"`` or ``"TSσBN"``.

    Returns:
        By balancing; those are left out that have fewer than two runs.
    """
    arms = balancings(bed, method)
    over = bed.against(method, *arms.values())
    return {name: -over[arm] for name, arm in arms.items() if over[arm]}


def sure(effects: Mapping[str, Effect]) -> tuple[int, int]:
    """Count the effects whose interval is above zero, and those whose interval is below.

    Example:
        >>> sure({"a": Effect(1.0, 0.1, 8, 2.0, (5, 5)), "b": Effect(1.0, 0.6, 8, 2.0, (5, 5))})
        (1, 0)
    """
    return (
        sum(effect.low > 0 for effect in effects.values()),
        sum(effect.high < 0 for effect in effects.values()),
    )


def chosen(bed: BedOfRuns, method: str) -> str | None:
    """Give the arm with the best balancing of a method, by the mean score on validation data.

    Of benchmarks whose tasks have one metric, of which higher is better. None where no balancing
    has two runs.
    """
    arms = (balancings(bed, method)[name] for name in gains(bed, method))
    means = {arm: bed.runs[arm].scores("val").mean(axis=None) for arm in arms}
    return max(means, key=means.__getitem__, default=None)


def answers(bed: BedOfRuns) -> pandas.DataFrame:
    """Show what the chosen balancing adds to each method, and how TSσBN compares with HPS.

    A row for each difference of two arms that have runs: its 95 % interval, the runs of both, and
    the least difference that so many runs show in four cases of five.
    """
    import pandas

    hps, gated = (chosen(bed, method) for method in METHODS)
    rows = {}
    for one, other in (("TSσBN", "HPS"), (hps, "HPS"), (gated, "TSσBN"), ("TSσBN", hps)):
        effect = one and other and bed.against(one, other)[other]
        if effect:
            row = {"points of Δm": effect.interval, "n": " and ".join(map(str, effect.n))}
            rows[f"{one} − {other}"] = row | {"visible from": f"{effect.visible:.2g}"}
    return pandas.DataFrame(rows).T


def summary(bed: BedOfRuns) -> str:
    """Say in a sentence how many balancings have an interval above the plain sum, and the gain."""
    found = {method: of for method in METHODS if (of := gains(bed, method))}
    if not found:
        return f"What balancing adds on {bed.title} is open: there are no runs to compare."
    counts = [f"{sure(of)[0]} of {len(of)} with {method}" for method, of in found.items()]
    largest = max(effect.value for of in found.values() for effect in of.values())
    return (
        f"On {bed.title}, balancings whose 95 % interval is above the plain sum are "
        f"{' and '.join(counts)}; the largest mean gain is {largest:+.2f} points of Δm."
    )


def cost(record: Mapping[str, Any] | None = None) -> pandas.DataFrame:
    """Show time and memory of a step with each balancing, relative to the plain sum of the method.

    Args:
        record: of the study `balancing_cost`; the one that is saved by default. The table is empty
            where none is.
    """
    import pandas

    from tssbn import records

    if record is None:
        try:
            record = records.load("balancing/cost")
        except FileNotFoundError:
            return pandas.DataFrame()
    rows: dict[str, dict[str, str]] = {}
    for method, seconds in record["seconds"].items():
        memory = record["memory_mib"][method]
        for name, times in seconds.items():
            low, median, high = relative(times, seconds[PLAIN])
            row = rows.setdefault(name, {})
            row[f"{method}: time"] = f"{median:.2f} ({low:.2f} to {high:.2f})"
            known = memory[name] is not None and memory[PLAIN]
            row[f"{method}: memory"] = f"{memory[name] / memory[PLAIN]:.2f}" if known else ""
    return pandas.DataFrame(rows).T
