"""Appendices E and G, which we have not seen: questions of our own about what they are on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tssbn.claims import measures, studies
from tssbn.claims.balanced import FEW, balanced, unneeded
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import Measured
from tssbn.claims.paper.beds import SHORT

__all__ = ["BALANCED", "claims"]

E = {"part": "Appendix E (not seen): capacity", "chapter": "10_capacity"}
G = {"part": "Appendix G (not seen): balancing", "chapter": "19_balancing"}
BALANCED = (
    balanced("synthetic rooms", "rooms", FEW),
    balanced("Census-Income", "census"),
    balanced("NYUv2, 96x128 (not equally tuned)", "nyuv2_lite", ["uw"], **SHORT),
)


def claims() -> Iterator[Claim]:
    """Capacity follows what a task needs, and no method needs a balancing."""
    for knob in ("units", "frequency"):
        text = "Capacity follows the difficulty of a task"
        yield follows(text, measures.capacity_gap, knob, "noise")
    for knob in ("cosine", "overlap", "digits"):
        text = "The shared part follows the similarity of tasks"
        yield follows(text, measures.shared_capacity, knob)
    for bed in BALANCED:
        yield from unneeded(bed, **G)


def follows(text: str, measure: Callable, knob: str, *null: str) -> Claim:
    """Claim that a measure of gates rises with the knob of a task."""
    values = {name: studies.by_knob(name, measure) for name in (knob, *null)}
    text = f"{text} (rank correlation with {knob})"
    found = Measured("synthetic teachers", values)
    return Claim(text, found, knob, 0.0, null="".join(null), **E)
