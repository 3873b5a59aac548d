"""Figure 3: most capacity is shared, and no task dominates."""

from __future__ import annotations

from collections.abc import Iterator

from tssbn.claims import measures, nulls
from tssbn.claims.claim import Claim
from tssbn.claims.paper.beds import CELEBA, FACES, ROOMS, nets

__all__ = ["claims"]

ROW = {"part": "Figure 3", "chapter": "10_capacity"}


def claims() -> Iterator[Claim]:
    """Of each bed with gates both claims, beside shuffled and beside untrained gates."""
    for bed in (ROOMS, CELEBA, FACES):
        of = bed.title, nets(bed)
        shared = nulls.beside_shuffled(*of, measures.shared_capacity)
        text = "Most of each task's capacity is shared (more than 50 %)"
        yield Claim(text, shared, "gates", 50.0, null="shuffled", **ROW)
        below = nulls.beside_shuffled(
            *of,
            lambda net: 50 - measures.largest_capacity(net),
            untrained=lambda net: 50 - 100 / len(net.tasks),
        )
        text = "No task dominates (the largest has less than 50 % of all capacity)"
        yield Claim(text, below, "gates", 0.0, null="untrained", **ROW)
