"""Section 3: the idea carries over to other normalisation layers."""

from __future__ import annotations

from collections.abc import Iterator

from tssbn.claims import studies
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import Measured

__all__ = ["claims"]

ARMS = {"HPS": ("hps", 1), "σLN ×100": ("tssln", 100), "own LN ×10": ("tsln", 10)}


def claims() -> Iterator[Claim]:
    """On LayerNorm, task-specific gates beat hard sharing, beside task-specific LayerNorm."""
    row = {"part": "Section 3", "chapter": "14_ingredients"}
    yield Claim("The idea carries over to LayerNorm", names(), "σLN ×100", null="own LN ×10", **row)


def names() -> Measured:
    """Read the mean F1 of two tasks on the names of characters."""
    found = studies.runs("beyond_vision/names")
    values = {
        arm: [_f1(run) for run in found if (run["method"], run["multiplier"]) == key]
        for arm, key in ARMS.items()
    }
    return Measured("names of characters, Transformer", values, "points of F1")


def _f1(run) -> float:
    return 100 * sum(task["f1"] for task in run["test"].values()) / len(run["test"])
