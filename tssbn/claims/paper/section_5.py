"""Section 5.2: related tasks have similar gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tssbn import gates
from tssbn.claims import attributes, nulls
from tssbn.claims.claim import Claim
from tssbn.claims.evidence import BedOfRuns
from tssbn.claims.paper.beds import CELEBA, FACES, nets
from tssbn.gates import Importance

__all__ = ["claims"]

ROW = {"part": "Section 5.2: related tasks", "chapter": "11_relations"}
GROUPS = {"Hair": attributes.HAIR, "Facial hair": attributes.BEARD}
LABELS = (FACES, attributes.labels_drawn), (CELEBA, attributes.labels_photographed)


def claims() -> Iterator[Claim]:
    """Seeds agree, clusters are regions of the face, and hair is one of them."""
    for bed, _ in LABELS:
        text = "Similarities of tasks agree between seeds (Spearman 0.8)"
        found = nulls.agreement(bed.title, nets(bed))
        yield Claim(text, found, "gates", 0.0, 0.8, "shuffled", **ROW)
    yield regions()
    for bed, labels in LABELS:
        for name, group in GROUPS.items():
            yield distinct(bed, name, group, labels)


def distinct(bed: BedOfRuns, name: str, group: frozenset[str], labels: Callable) -> Claim:
    """Claim that attributes of one kind hold together, beside what their labels alone give."""
    text = f"{name} is a distinct cluster (closer than 95 % of random groups)"
    found = nulls.cohesion(bed.title, nets(bed), group, labels)
    return Claim(text, found, "gates", 95.0, null="labels alone", **ROW)


def regions() -> Claim:
    """Claim that clusters match the regions that the faces were drawn with."""

    def match(alike: Callable[[Importance], Any]) -> Callable[[Importance], float]:
        return lambda net: attributes.match_regions(net.tasks, alike(net))

    labels = match(lambda net: attributes.labels_drawn(net.tasks))
    of = FACES.title, nets(FACES), match(gates.similarity)
    text = "Clusters of tasks are regions of the face (adjusted Rand index)"
    return Claim(
        text, nulls.beside_shuffled(*of, labels=labels), "gates", 0.0, null="labels", **ROW
    )
