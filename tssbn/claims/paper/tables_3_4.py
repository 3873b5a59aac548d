"""Tables 3 and 4: vision transformers, beside mixtures of experts and beside adapters."""

from __future__ import annotations

from collections.abc import Iterator

from tssbn.claims.claim import Claim
from tssbn.claims.paper.beds import DIGITS

__all__ = ["claims"]

TABLE_3 = {"part": "Table 3", "chapter": "21_mixtures"}
TABLE_4 = {"part": "Table 4", "chapter": "20_transformers"}
MIXTURES = "M³ViT", "Mod-Squad", "TaskExpert", "MLoRE"


def claims() -> Iterator[Claim]:
    """TSσBN, here TSσLN, beats each mixture in small; at full size nothing was run."""
    for other in MIXTURES:
        yield Claim(f"TSσLN beats {other}", DIGITS, than=other, null="shared gates", **TABLE_3)
    yield Claim("TSσLN beats TSLN", DIGITS, than="TSBN", **TABLE_3)
    text = f"TSσLN beats all of {', '.join(MIXTURES)}"
    yield Claim(text, DIGITS, than=MIXTURES, **TABLE_3)
    yield Claim("TSσBN beats all others", bed="PascalContext, ViT-S", **TABLE_3)
    yield Claim("TSσBN beats LoRA", bed="PascalContext, Swin-T", **TABLE_4)
