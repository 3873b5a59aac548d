"""What TSσBN is made of: an ingredient is taken away or exchanged, or gates begin at a later stage.

Both are arms beside TSσBN on one benchmark; effects are their Δm minus that of TSσBN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tssbn.claims.arms import from_stage, gated_from
from tssbn.claims.beside import constant_gain
from tssbn.claims.evidence import BedOfRuns
from tssbn.claims.verdict import Effect

__all__ = ["by_stage", "ladder", "later", "seen", "summary", "worth"]

WHOLE, BASELINE = "TSσBN", "STL"

#: The method behind each arm, from nothing of TSσBN to all but one of its ingredients.
LADDER = {
    "HPS": "hps",
    "wider HPS": "hps-wide",
    "statistics only": "statistics",
    "scale and bias only": "affine",
    "TSBN": "tsbn",
    "TSBN without β": "tsbn-no-bias",
    "TSσBN with β": "tssbn-bias",
    "tanh for σ": "tanh",
    "softplus for σ": "softplus",
    "clamp for σ": "clamp",
    "shared gates": "shared-gates",
    "random gates": "random-gates",
    "shuffled gates": "shuffled-gates",
}


def ladder(title: str, benchmark: str) -> BedOfRuns:
    """Take the runs of TSσBN, of those with an ingredient less or another, and of STL.

    Example:
        >>> bed = ladder("rooms", "rooms")
        >>> bed.arms["TSσBN"], bed.arms["clamp for σ"]
        (('tssbn', {}), ('clamp', {}))
    """
    arms = {BASELINE: "stl", WHOLE: "tssbn", **LADDER}
    return BedOfRuns(title, benchmark, {arm: (method, {}) for arm, method in arms.items()})


def worth(bed: BedOfRuns) -> dict[str, Effect]:
    """Give the Δm of each arm of a ladder minus that of TSσBN, with Dunnett's intervals.

    Args:
        bed: of :func:`ladder`.

    Returns:
        By arm; those are left out that have fewer than two runs.
    """
    found = bed.against(WHOLE, *LADDER)
    return {arm: -effect for arm, effect in found.items() if effect}


def seen(bed: BedOfRuns) -> str:
    """Say the least effect that the runs of a ladder could show, and what Δm is relative to."""
    effects = worth(bed).values()
    if not effects:
        return f"{bed.title}: no ablation has two runs."
    said = (
        f"{bed.title}: in four of five cases such runs show an effect of "
        f"{max(effect.visible for effect in effects):.2g} points of Δm (the end of the widest "
        f"band). The baseline of Δm, single-task networks, is itself known within ± "
        f"{bed.bed.band():.1g}."
    )
    gain = constant_gain(bed.runs[BASELINE])
    return said if gain is None else f"{said} The constant baseline has a Δm of {gain:.0f}."


def summary(beds: Sequence[BedOfRuns]) -> str:
    """Say in a sentence how many arms of each ladder have an interval below TSσBN, or above."""
    parts = []
    for bed in beds:
        found = worth(bed)
        if not found:
            parts.append(f"on {bed.title} no ablation has two runs")
            continue
        below = {arm: -effect.value for arm, effect in found.items() if effect.high < 0}
        above = {arm: effect.value for arm, effect in found.items() if effect.low > 0}
        if not below and not above:
            parts.append(f"on {bed.title} {_all(len(found))} zero")
            continue
        parts.append(
            f"on {bed.title} {len(below)} of {len(found)} ablations are below TSσBN in Δm"
            f"{_most(below, ' points')} and {len(above)} above{_most(above)}, by 95 % intervals "
            "beyond zero"
        )
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _all(intervals: int) -> str:
    return f"all {intervals} intervals hold" if intervals > 1 else "the interval holds"


def _most(arms: Mapping[str, float], unit: str = "") -> str:
    """The arm with the largest difference, in brackets; nothing without any."""
    arm = max(arms, key=arms.__getitem__, default=None)
    return f" ({arm} by {arms[arm]:.2g}{unit})" if arm else ""


def by_stage(bed: BedOfRuns) -> dict[int, Effect]:
    """Give the Δm of gates from each stage on minus that of TSσBN, with Dunnett's intervals.

    Args:
        bed: of :func:`tssbn.claims.arms.all_arms`.

    Returns:
        By the first stage with gates; HPS, which has none, by the number of stages. Those are left
        out that have fewer than two runs.
    """
    firsts = gated_from(bed)
    names = {k: from_stage(k) for k in firsts} | {len(firsts) + 1: "HPS"}
    found = bed.against(WHOLE, *names.values())
    return {k: -effect for k, arm in names.items() if (effect := found[arm])}


def later(bed: BedOfRuns) -> str:
    """Say how far gates from later stages on are from those in all; nothing where none were run."""
    found = by_stage(bed)
    stages = len(gated_from(bed)) + 1
    parts = [f"from stage {k} on {of.interval}" for k, of in found.items() if k < stages]
    if not parts:
        return ""
    hps = f"; HPS, without gates, {found[stages].interval}" if stages in found else ""
    return f"{bed.title}, Δm minus that of gates in all {stages} stages: {', '.join(parts)}{hps}."
