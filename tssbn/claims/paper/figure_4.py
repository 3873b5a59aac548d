"""Figure 4: filters of a single task, and who suffers without them."""

from __future__ import annotations

from collections.abc import Iterator

from tssbn.claims import measures, nulls, studies
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import Measured
from tssbn.claims.paper.beds import FACES, ROOMS, nets

__all__ = ["claims"]

ROW = {"part": "Figure 4", "chapter": "12_filters"}
SUFFERS = "A task suffers most when its own filters are removed"


def claims() -> Iterator[Claim]:
    """They are in later layers, and their own task suffers most; "most tasks" is our reading."""
    slopes = nulls.beside_shuffled(ROOMS.title, nets(ROOMS), measures.depth_slope)
    text = "Later layers have more filters of a single task"
    yield Claim(text, slopes, "gates", 0.0, null="shuffled", **ROW)
    yield Claim(SUFFERS, bed=ROOMS.title, **ROW)
    values = {kind: studies.removals("faces", kind) for kind in ("own", "matched")}
    found = Measured(FACES.title, values, "points", paired=True)
    yield Claim(f"{SUFFERS} (of most tasks)", found, "own", 50.0, null="matched", **ROW)
