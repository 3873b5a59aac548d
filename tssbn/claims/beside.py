"""Arms beside one of them: what each is worth, how sure that is, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tssbn.claims.bed import Bed
from tssbn.claims.verdict import Effect
from tssbn.records.scores import constant, delta

if TYPE_CHECKING:
    import pandas

    from tssbn.records import SavedRuns

__all__ = ["beside", "constant_gain", "effects"]


def effects(
    runs: Mapping[str, SavedRuns], reference: str, baseline: str = "stl"
) -> dict[str, Effect]:
    """Give by how much each arm is better than one of them, with Dunnett's intervals.

    Args:
        runs: by arm.
        reference: the arm that the others are compared with.
        baseline: the arm that Δm is relative to.

    Returns:
        The effects, by arm; those are left out that have fewer than two runs, and all where the
        reference or the baseline has.

    Raises:
        ValueError: as :meth:`tssbn.claims.Bed.of`, or an arm that there is not.

    Example:
        >>> from tssbn import records
        >>> runs = {arm: records.of("census", arm) for arm in ("stl", "hps", "tssbn")}
        ... # doctest: +SKIP
        >>> effects(runs, "hps")["tssbn"]  # doctest: +SKIP
    """
    others = [arm for arm in runs if arm != reference]
    found = Bed.of(runs, baseline).against(reference, *others)
    return {arm: -effect for arm, effect in found.items() if effect}


def beside(
    runs: Mapping[str, SavedRuns], *references: str, baseline: str = "stl"
) -> pandas.DataFrame:
    """Put arms beside others; a row for each that has runs, below the constant baseline.

    Columns are the number of runs; the mean Δm over the baseline, in percent; the difference of Δm
    from each reference, with its 95 % interval; and parameters and MACs, relative to the first
    reference. (Times of saved runs are of whatever machines they ran on; for time see
    :func:`tssbn.timing.methods.time_methods`.)

    Args:
        runs, baseline: as :func:`effects` takes them.
        references: one arm or more; the first has runs.

    Raises:
        FileNotFoundError: the first reference has no run.
        ValueError: as there.

    Example:
        >>> from tssbn import records
        >>> runs = {arm: records.of("census", arm) for arm in ("stl", "hps", "tssbn")}
        ... # doctest: +SKIP
        >>> print(beside(runs, "hps", "tssbn"))  # doctest: +SKIP
    """
    import pandas

    sure = {reference: effects(runs, reference, baseline) for reference in references}
    base, first = runs[baseline], runs[references[0]][0]
    rows: dict[str, dict[str, str]] = {}
    if (gain := constant_gain(base)) is not None:
        rows["constant baseline"] = {"Δm": _signed(gain)}
    for arm, found in runs.items():
        if not found:
            continue
        row = {"n": str(len(found))}
        if base:
            row["Δm"] = _signed(found.delta(base).mean())
        for reference, by_arm in sure.items():
            row[f"minus {reference}"] = by_arm[arm].interval if arm in by_arm else ""
        row["#P"] = f"{found[0]['parameters'] / first['parameters']:.2f}"
        row["#F"] = f"{found[0]['macs'] / first['macs']:.2f}"
        rows[arm] = row
    columns = ["n", "Δm", *(f"minus {reference}" for reference in sure), "#P", "#F"]
    return pandas.DataFrame(rows).T.reindex(columns=columns).fillna("")


def constant_gain(base: SavedRuns) -> float | None:
    """Give Δm of the constant baseline, the best answer that ignores the input, in percent.

    Args:
        base: the runs that Δm is relative to, such as those of single-task networks.

    Returns:
        Δm as :meth:`tssbn.records.SavedRuns.delta` gives it; None without a run, or where the
        runs were saved without the scores of the constant baseline.

    Example:
        >>> from tssbn import records
        >>> constant_gain(records.of("census", "stl"))  # doctest: +SKIP
    """
    scores = constant(base[0]) if base else {}
    if not scores:
        return None
    return delta(scores, base.scores().mean().to_dict(), base[0]["directions"], base.average)


def _signed(gain: float) -> str:
    return f"{round(gain, 2) + 0.0:+.2f}"
