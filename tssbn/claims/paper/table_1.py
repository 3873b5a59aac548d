"""Table 1: NYUv2, Cityscapes and CelebA, from scratch."""

from __future__ import annotations

from collections.abc import Iterator

from tssbn.claims import tables
from tssbn.claims.celeba import mean_scores
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import BedOfRuns, Measured
from tssbn.claims.paper.beds import CELEBA, CELEBA_10K, FACES, ROOMS

__all__ = ["claims", "precision"]

NYUV2 = {"part": "Table 1: NYUv2", "chapter": "06_nyuv2"}
CITYSCAPES = {"part": "Table 1: Cityscapes", "chapter": "07_cityscapes"}
FORTY = {"part": "Table 1: CelebA", "chapter": "08_celeba"}


def claims() -> Iterator[Claim]:
    """TSσBN beats the others at full size, and pair by pair on our small beds."""
    yield tables.as_printed("NYUv2, full size", "nyuv2", tables.NYUV2, **NYUV2)
    yield from tables.compared(ROOMS, tables.NYUV2, **NYUV2)
    printed = tables.CITYSCAPES  # where it is not claimed to beat Cross-Stitch
    yield tables.as_printed("Cityscapes, full size", "cityscapes", printed, **CITYSCAPES)
    yield tables.as_printed("CelebA, whole", "celeba", tables.CELEBA, **FORTY)
    yield from tables.compared(CELEBA_10K, tables.CELEBA, **FORTY)
    found = precision(CELEBA_10K, "TSσBN", "HPS", "shared gates")
    for other in ("HPS", "shared gates"):
        text = f"TSσBN beats {other} in mean average precision"
        yield Claim(text, found, than=other, **FORTY)
    yield from tables.compared(CELEBA, tables.CELEBA, **FORTY)
    yield from tables.compared(FACES, tables.CELEBA, **FORTY)


def precision(bed: BedOfRuns, *arms: str) -> Measured:
    """Measure the mean average precision of the tasks after the last epoch, as chapter 8 does."""
    values = {arm: [mean_scores(run)["average precision"] for run in bed.runs[arm]] for arm in arms}
    return Measured(bed.title, values, "points")
