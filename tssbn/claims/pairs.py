"""Differences of Δm between two methods each, beside those that the paper prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tssbn.claims.bed import Bed
from tssbn.methods import METHODS, find_method

if TYPE_CHECKING:
    import pandas

__all__ = ["pairs"]


def pairs(
    bed: Bed,
    compared: Iterable[tuple[str, str]],
    printed: Mapping[str, Mapping[str, Any]] | None = None,
) -> pandas.DataFrame:
    """Give the difference of two arms of a bed, a row for each pair that was run.

    Args:
        bed: of the runs.
        compared: the pairs, the second is subtracted from the first.
        printed: published rows by arm, with a ``"delta"``; that of the baseline has none.

    Returns:
        The 95 % interval of each pair by itself, the numbers of runs, and where ``printed`` is
        given the difference of its Δm, empty where it has no such row.

    Example:
        >>> arms = {"stl": [50.0, 52.0, 51.0], "hps": [53.0, 54.0, 55.0]}
        >>> made = pairs(Bed(arms, baseline="stl"), [("hps", "stl")], {"stl": {}, "hps": {}})
        >>> made.iloc[0].to_dict()
        {'difference of Δm': '+5.9 [+1.3, +10.5]', 'runs': '3, 3', 'in the paper': ''}
    """
    import pandas

    delta = {arm: row["delta"] for arm, row in (printed or {}).items() if "delta" in row}
    if bed.baseline is not None and bed.baseline in (printed or {}):
        delta[bed.baseline] = 0.0
    rows = {}
    for one, other in compared:
        if not {one, other} <= set(bed.arms):
            continue
        effect = bed.compare(one, other)
        row = {"difference of Δm": effect.interval, "runs": f"{effect.n[0]}, {effect.n[1]}"}
        if printed is not None:
            known = {one, other} <= set(delta)
            row["in the paper"] = f"{delta[one] - delta[other]:+.1f}" if known else ""
        rows[f"{_title(one)} − {_title(other)}"] = row
    return pandas.DataFrame(rows).T


def _title(arm: str) -> str:
    return find_method(arm).title if arm in METHODS else arm
