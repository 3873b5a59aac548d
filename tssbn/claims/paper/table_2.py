"""Table 2: pretrained networks, and the mixtures of experts and of branches beside them."""

from __future__ import annotations

from collections.abc import Iterator

from tssbn.claims import tables
from tssbn.claims.claim import Claim
from tssbn.claims.paper.beds import FROZEN, LITE, LONG, ROOMS, TUNED

__all__ = ["claims"]

ROW = {"part": "Table 2: pretrained networks", "chapter": "18_experts"}


def claims() -> Iterator[Claim]:
    """TSσBN beats all others, those of rooms without pretraining; also longer, or frozen."""
    for bed, claimed in ("NYUv2, ResNet-50", 0.93), ("Cityscapes, ResNet-50", 0.30):
        yield Claim("TSσBN beats all others", bed=bed, claimed=claimed, **ROW)
    yield from tables.compared(LITE, tables.TABLE_2, **ROW)
    claimed = tables.advantage(tables.TABLE_2, "TSσBN", "MMoE")
    yield Claim("TSσBN beats MMoE", LITE, than="MMoE", claimed=claimed, null="TSBN", **ROW)
    claimed = tables.advantage(tables.TABLE_2, "TSσBN", "HPS")
    for bed in LONG, TUNED:
        yield Claim("TSσBN beats hard sharing (HPS)", bed, claimed=claimed, **ROW)
    yield from tables.architectures(ROOMS, tables.TABLE_2, **ROW)
    for arm, null in ("TSσBN", "shared gates"), ("TSBN", ""):
        text = f"With frozen filters, {arm} beats hard sharing"
        yield Claim(text, FROZEN, arm, null=null, **ROW)
