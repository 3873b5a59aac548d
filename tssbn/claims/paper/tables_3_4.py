"""Tables 3 and 4: vision transformers, beside mixtures of experts and beside adapters."""

from __future__ import annotations

from collections.abc import Iterator

from tssbn import records
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import Measured
from tssbn.claims.paper.beds import DIGITS

__all__ = ["adapted", "claims", "labelled"]

TABLE_3 = {"part": "Table 3", "chapter": "21_mixtures"}
TABLE_4 = {"part": "Table 4", "chapter": "20_transformers"}
MIXTURES = "M³ViT", "Mod-Squad", "TaskExpert", "MLoRE"
ADAPTED = {"LoRA": "lora", "Adapter": "adapter", "VL-Adapter": "vl-adapter", "BitFit": "bitfit"}


def claims() -> Iterator[Claim]:
    """TSσBN, here TSσLN, beats each of the others in small; at full size nothing was run."""
    for other in MIXTURES:
        yield Claim(f"TSσLN beats {other}", DIGITS, than=other, null="shared gates", **TABLE_3)
    yield Claim("TSσLN beats TSLN", DIGITS, than="TSBN", **TABLE_3)
    text = f"TSσLN beats all of {', '.join(MIXTURES)}"
    yield Claim(text, DIGITS, than=MIXTURES, **TABLE_3)
    yield Claim("TSσBN beats all others", bed="PascalContext, ViT-S", **TABLE_3)
    yield Claim("TSσBN beats LoRA", bed="PascalContext, Swin-T", **TABLE_4)
    for title, other in ADAPTED.items():
        text, own, shared = f"TSσLN beats {title}", "tssbn-frozen", "shared-gates-frozen"
        yield Claim(text, adapted(own, other), own, other, **TABLE_4)
        yield Claim(text, labelled(own, other, shared), own, other, null=shared, **TABLE_4)


def adapted(*methods: str) -> Measured:
    """Measure the accuracy that methods reach on `adapt` from each source, in percent.

    The source is the random unit: the mean of both tasks and of the runs from it is one number.
    Methods start from the same sources, so that differences are paired.
    """
    values = {}
    for method in methods:
        runs = (records.of("adapt", method, range(2), source=source) for source in range(3))
        values[method] = [100 * each.scores().mean(axis=None) for each in runs if each]
    return Measured("digits from swapped digits, Swin", values, "points", paired=True)


def labelled(*methods: str) -> Measured:
    """Measure the accuracy that methods reach on `treebank`, in percent.

    The mean of the three tasks is one number of each run. Runs of a seed have the same sentences in
    the same order, so that differences are paired.
    """
    values = {}
    for method in methods:
        runs = records.of("treebank", method, range(5))
        values[method] = list(100 * runs.scores().mean(axis=1)) if runs else []
    return Measured("English words, BERT", values, "points", paired=True)
