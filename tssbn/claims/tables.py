"""The claims that the tables of the paper make (arXiv 2512.20420), asked of any bed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from tssbn.claims.arms import ARMS, from_stage, gated_from, later_half
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import BedOfRuns

__all__ = [
    "QUESTIONS",
    "architectures",
    "as_printed",
    "best",
    "compared",
    "controls",
    "questions",
]

#: Δm in percent, as printed.
NYUV2 = {
    "STL": 0.0,
    "HPS": 1.07,
    "Cross-Stitch": 1.98,
    "MTAN": 3.14,
    "TSBN": 4.42,
    "TSσBN": 6.93,
}
CITYSCAPES = {
    "STL": 0.0,
    "HPS": -0.39,
    "Cross-Stitch": 2.43,
    "MTAN": 0.39,
    "TSBN": 0.40,
    "TSσBN": 0.57,
}
CELEBA = {
    "STL": 0.0,
    "HPS": -1.69,
    "Cross-Stitch": -3.87,
    "MTAN": -12.78,
    "TSBN": -1.52,
    "TSσBN": 1.82,
}
TABLE_2 = {  # NYUv2
    "HPS": 0.0,
    "Cross-Stitch": 0.35,
    "MMoE": -0.15,
    "MTAN": 1.55,
    "CGC": 0.84,
    "PLE": 0.32,
    "LTB": -0.49,
    "DSelect-k": 0.64,
    "TSBN": 1.04,
    "TSσBN": 2.48,
}
MIXTURES = "MMoE", "CGC", "PLE", "LTB", "DSelect-k"  # of experts, and of branches
RIVALS = "STL", "HPS", "Cross-Stitch", "MTAN", "TSBN"
COMPARISONS = (  # text, arm, than, null or simpler account
    ("TSσBN beats hard sharing (HPS)", "TSσBN", "HPS", "random gates"),
    ("TSσBN beats single-task networks", "TSσBN", "STL", "TSBN"),
    ("TSσBN beats TSBN", "TSσBN", "TSBN", ""),
    ("TSσBN beats Cross-Stitch", "TSσBN", "Cross-Stitch", "TSBN"),
    ("TSσBN beats MTAN", "TSσBN", "MTAN", "TSBN"),
    ("TSBN is competitive: it beats HPS", "TSBN", "HPS", "own statistics"),
    ("TSBN is competitive: it beats Cross-Stitch", "TSBN", "Cross-Stitch", ""),
    ("TSBN is competitive: it beats MTAN", "TSBN", "MTAN", ""),
)
CONTROLS = {
    "Learned gates beat random ones": "random gates",
    "Learned gates beat the same gates, shuffled": "shuffled gates",
    "Own gates beat one row for all tasks": "shared gates",
    "TSσBN beats HPS of 1.5 times the width": "wider HPS",
    "TSσBN beats own statistics alone": "own statistics",
}
QUESTIONS = {
    "Does TSσBN beat hard sharing (HPS)?": "HPS",
    "Does TSσBN beat TSBN?": "TSBN",
    "Do learned gates beat random ones?": "random gates",
    "Do own gates beat one row for all tasks?": "shared gates",
}
LAST = "Are gates in at most half of the stages, the later ones, enough?"
ENOUGH = 0.5  # points of Δm


def advantage(printed: Mapping[str, float], arm: str, *others: str) -> float:
    """Give what an arm is better by than the best of others, as printed; 0 where it is not.

    Example:
        >>> advantage(NYUV2, "TSσBN", "HPS", "TSBN"), advantage(TABLE_2, "TSσBN", "STL")
        (2.51, 0.0)
    """
    known = [printed[other] for other in others if other in printed]
    return round(printed[arm] - max(known), 2) if known else 0.0


def compared(bed: BedOfRuns, printed: Mapping[str, float], **row: str) -> Iterator[Claim]:
    """Claim that the paper's methods beat others, pair by pair, and TSσBN all of them together.

    Of what the paper prints, where it prints the arm as the better one; of all pairs where it
    prints nothing.

    Args:
        bed: the runs.
        printed: Δm by arm.
        row: ``part`` and ``chapter`` of the claims.

    Example:
        >>> from tssbn.claims.arms import all_arms
        >>> census = all_arms("Census-Income", "census", without=["MTAN"])
        >>> [claim.than for claim in compared(census, {})][:3]
        ['HPS', 'STL', 'TSBN']
    """
    for text, arm, than, null in COMPARISONS:
        claimed = advantage(printed, arm, than)
        if not (claimed > 0 if printed else than in bed.arms):
            continue
        if than in bed.arms:
            yield Claim(text, bed, arm, than, claimed, null, **row)
        else:
            yield Claim(text, claimed=claimed, bed=bed.title, **row)
    others = [arm for arm in RIVALS if arm in bed.arms and arm in (printed or bed.arms)]
    yield best(bed, printed, others, **row)


def architectures(bed: BedOfRuns, printed: Mapping[str, float], **row: str) -> Iterator[Claim]:
    """Claim that TSσBN beats the mixtures of experts and branches of table 2, and all of them.

    Args:
        bed: the runs.
        printed: Δm by arm; nothing where no size is claimed.
        row: ``part`` and ``chapter`` of the claims.

    Example:
        >>> from tssbn.claims.arms import all_arms
        >>> claims = list(architectures(all_arms("rooms", "rooms"), TABLE_2))
        >>> claims[0].text, claims[0].claimed, claims[-1].text
        ('TSσBN beats MMoE', 2.63, 'TSσBN beats all of MMoE, CGC, PLE, LTB, DSelect-k')
    """
    for other in MIXTURES:
        claimed = advantage(printed, "TSσBN", other)
        yield Claim(f"TSσBN beats {other}", bed, than=other, claimed=claimed, null="TSBN", **row)
    yield best(bed, printed, MIXTURES, **row)


def best(
    bed: BedOfRuns, printed: Mapping[str, float], others: Collection[str], **row: str
) -> Claim:
    """Claim that TSσBN beats several others together."""
    text = f"TSσBN beats all of {', '.join(others)}"
    claimed = advantage(printed, "TSσBN", *others)
    return Claim(text, bed, than=tuple(others), claimed=claimed, **row)


def as_printed(title: str, benchmark: str, printed: Mapping[str, float], **row: str) -> Claim:
    """Claim at full size that TSσBN beats all that the paper prints below it.

    The paper's TSBN has the multiplier 100.

    Example:
        >>> as_printed("Cityscapes", "cityscapes", CITYSCAPES).text  # not Cross-Stitch
        'TSσBN beats all of STL, HPS, MTAN, TSBN'
    """
    methods = {**ARMS, "TSBN": "tsbn-x100"}
    bed = BedOfRuns(title, benchmark, {arm: (methods[arm], {}) for arm in printed})
    others = [arm for arm in printed if printed[arm] < printed["TSσBN"]]
    return best(bed, printed, others, **row)


def controls(bed: BedOfRuns, **row: str) -> Iterator[Claim]:
    """Claim that what TSσBN adds is needed: own gates, that learn, in all stages.

    The claim about stages is made from the later half on, and from each stage that was run.
    """
    for text, other in CONTROLS.items():
        yield Claim(text, bed, than=other, **row)
    for k in gated_from(bed):
        if k == later_half(bed) or bed.runs[from_stage(k)]:
            yield enough(bed, k, f"Gates from stage {k} on are at most {ENOUGH} behind", **row)


def enough(bed: BedOfRuns, k: int, text: str, **row: str) -> Claim:
    """Claim that gates from a stage on are no more than half a point behind gates in all."""
    return Claim(text, bed, from_stage(k), "TSσBN", margin=ENOUGH, **row)


def questions(*beds: BedOfRuns) -> Iterator[Claim]:
    """Ask five questions of each bed, for :func:`tssbn.claims.matrix`.

    Example:
        >>> from tssbn.claims.arms import all_arms
        >>> asked = list(questions(all_arms("rooms", "rooms", stages=7)))
        >>> len(asked), asked[-1].text
        (5, 'Are gates in at most half of the stages, the later ones, enough?')
    """
    for text, other in QUESTIONS.items():
        for bed in beds:
            yield Claim(text, bed, than=other)
    for bed in beds:
        yield enough(bed, later_half(bed), LAST)
