"""Controls, on which the paper has no numbers, and a bed that it does not have."""

from __future__ import annotations

from collections.abc import Iterator

from tssbn.claims import tables
from tssbn.claims.claim import Claim
from tssbn.claims.paper.beds import ASKED, CENSUS, DIGITS

__all__ = ["claims"]

CONTROLS = {"part": "Controls, not in the paper", "chapter": "14_ingredients"}
MIXTURES = {**CONTROLS, "chapter": "21_mixtures"}
TABULAR = {"part": "Tabular data, not in the paper", "chapter": "18_experts"}


def claims() -> Iterator[Claim]:
    """What TSσBN adds is needed; and it is ahead on tabular data."""
    for bed in ASKED:
        yield from tables.controls(bed, **CONTROLS)
    for other in ("STL", "HPS", "shared gates"):
        yield Claim(f"TSσLN beats {other}", DIGITS, than=other, **MIXTURES)
    yield from tables.compared(CENSUS, {}, **TABULAR)
    yield from tables.architectures(CENSUS, {}, **TABULAR)
