"""Tables 3 and 4: vision transformers, beside mixtures of experts and beside adapters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    Methods start from the same sources, so that differences are paired; a source that one of them
    lacks is left out.
    """
    values: dict[str, dict[int, float]] = {}
    for method in methods:
        runs = {k: records.of("adapt", method, range(2), source=k) for k in range(3)}
        means = {k: each.scores().mean(axis=None) for k, each in runs.items() if each}
        values[method] = {k: 100 * mean for k, mean in means.items()}
    return _paired("digits from swapped digits, Swin", values)


def labelled(*methods: str) -> Measured:
    """Measure the accuracy that methods reach on `treebank`, in percent.

    The mean of the three tasks is one number of each run. Runs of a seed have the same sentences in
    the same order, so that differences are paired; a seed that a method lacks is left out.
    """
    values: dict[str, dict[int, float]] = {}
    for method in methods:
        runs = records.of("treebank", method, range(5))
        values[method] = dict(100 * runs.scores().mean(axis=1)) if runs else {}
    return _paired("English words, BERT", values)


def _paired(title: str, values: Mapping[str, Mapping[int, float]]) -> Measured:
    """The values by method and unit, of the units that all methods have."""
    common = sorted(set.intersection(*(set(of) for of in values.values())))
    paired = {method: [of[unit] for unit in common] for method, of in values.items()}
    return Measured(title, paired, "points", paired=True)
