"""The arms that claims are about, by the names that they have in tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import product
from typing import Any

from tssbn import records
from tssbn.claims.evidence import BedOfRuns

__all__ = [
    "ARMS",
    "all_arms",
    "at_multipliers",
    "from_stage",
    "gate_rate",
    "gated_from",
    "later_half",
]

#: The method of each arm.
ARMS = {
    "STL": "stl",
    "HPS": "hps",
    "Cross-Stitch": "cross-stitch",
    "MTAN": "mtan",
    "MMoE": "mmoe",
    "CGC": "cgc",
    "PLE": "ple",
    "LTB": "ltb",
    "DSelect-k": "dselect-k",
    "TSBN": "tsbn",
    "TSσBN": "tssbn",
    "wider HPS": "hps-wide",
    "own statistics": "statistics",
    "shared gates": "shared-gates",
    "random gates": "random-gates",
    "shuffled gates": "shuffled-gates",
}
# Have a gate rate, as those from a stage on; fixed gates are those of the run of TSσBN with theirs.
RATED = "TSBN", "TSσBN", "shared gates", "random gates", "shuffled gates"


def from_stage(k: int) -> str:
    """Name the arm whose gates begin at a stage.

    Example:
        >>> from_stage(4)
        'gates from stage 4'
    """
    return f"gates from stage {k}"


def all_arms(
    title: str,
    benchmark: str,
    stages: int = 1,
    multiplier: float | None = None,
    without: Collection[str] = (),
    **settings: Any,
) -> BedOfRuns:
    """Take the runs of all arms on a benchmark.

    Args:
        title: of the bed, in words.
        benchmark: its name.
        stages: of its trunk; there is an arm with gates from each stage on but the first.
        multiplier: of all arms with a gate rate, where the benchmark has no tuned ones.
        without: arms that the benchmark's network cannot have.
        settings: of all runs.

    Raises:
        ValueError: one of `without` is no arm.

    Example:
        >>> bed = all_arms("faces", "faces", stages=2, multiplier=10, without=["MTAN"])
        >>> bed.arms["TSσBN"], bed.arms["HPS"]
        (('tssbn', {'multiplier': 10}), ('hps', {}))
        >>> bed.arms["random gates"]
        ('random-gates', {'multiplier': 10})
        >>> bed.arms["gates from stage 1"]
        ('deep-gates', {'first': 1, 'multiplier': 10})
    """
    deep = {from_stage(k): {"first": k} for k in range(1, stages)}
    if unknown := set(without) - {*ARMS, *deep}:
        known = ", ".join((*ARMS, *deep))
        raise ValueError(f"without: {', '.join(sorted(unknown))} is no arm; arms: {known}")
    rated = {} if multiplier is None else {"multiplier": multiplier}
    arms: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for arm in (*ARMS, *deep):
        own = {**settings, **deep.get(arm, {})}
        if arm in RATED or arm in deep:
            own |= rated
        if arm not in without:
            arms[arm] = ARMS.get(arm, "deep-gates"), own
    return BedOfRuns(title, benchmark, arms)


def gated_from(bed: BedOfRuns) -> list[int]:
    """List the stages from which on an arm of a bed has gates."""
    return [settings["first"] for method, settings in bed.arms.values() if method == "deep-gates"]


def later_half(bed: BedOfRuns) -> int:
    """Give the stage from which on gates are asked for: at most half of the stages have them.

    It is the first such stage, or the first with runs where that has none.

    Example:
        >>> [later_half(all_arms("", "faces", stages=stages)) for stages in (3, 7, 8)]
        [2, 4, 4]
    """
    stages = gated_from(bed)
    first = 1 + len(stages) // 2
    run = (k for k in stages if k >= first and bed.runs[from_stage(k)])
    return next(run, first)


def at_multipliers(
    title: str, benchmark: str, multipliers: Iterable[float], arms: Collection[str]
) -> BedOfRuns:
    """Take the runs of arms at several multipliers, and of single-task networks.

    The gate rate is the learning rate of the gates, or of the tasks' scales and biases: the base
    rate of the arm's recipe times the multiplier, :func:`gate_rate`.

    Args:
        title: of the bed, in words.
        benchmark: its name.
        multipliers: of the base rate.
        arms: by name.

    Raises:
        ValueError: an arm without a gate rate.

    Example:
        >>> at_multipliers("rooms", "rooms", [10], ["TSσBN"]).arms["TSσBN ×10"]
        ('tssbn', {'multiplier': 10})
    """
    if without := [arm for arm in arms if arm not in RATED]:
        raise ValueError(f"{', '.join(without)} has no gate rate, use some of {', '.join(RATED)}")
    found = {"STL": (ARMS["STL"], {})}
    for arm, times in product(arms, multipliers):
        found[f"{arm} ×{times}"] = ARMS[arm], {"multiplier": times}
    return BedOfRuns(title, benchmark, found)


def gate_rate(bed: BedOfRuns, arm: str) -> float | None:
    """Give the learning rate of an arm's gates, or of its tasks' scales and biases.

    Example:
        >>> bed = at_multipliers("faces", "faces", [10], ["TSσBN"])
        >>> gate_rate(bed, "TSσBN ×10")  # a base rate of 0.004
        0.04
    """
    from tssbn.training.run import Run

    method, settings = bed.arms[arm]
    return records.gate_rate(Run(bed.benchmark, method, settings=settings))
