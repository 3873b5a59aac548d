"""What is known of the attributes of faces without any network: regions, and labels together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from tssbn import records
from tssbn.clusters import cluster_tasks
from tssbn.data.synthetic.faces import REGIONS, Faces, faces

__all__ = ["BEARD", "HAIR", "labels_drawn", "labels_photographed", "match_regions"]

#: Attributes of head hair, and of facial hair, as far as a set of faces has them.
KINDS = "Black", "Blond", "Brown", "Gray", "Straight", "Wavy"
HAIR = frozenset({"Bangs", *(f"{kind}_Hair" for kind in KINDS)})
BEARD = frozenset({"5_o_Clock_Shadow", "Goatee", "Mustache", "No_Beard", "Sideburns"})


def labels_drawn(tasks: Sequence[str]) -> np.ndarray:
    """Give the size of the correlation of labels of the synthetic faces, (T, T).

    Example:
        >>> labels_drawn(["Goatee", "No_Beard"]).diagonal()
        array([1., 1.])
    """
    labels = np.stack([_drawn()[task].double().numpy() for task in tasks])
    return np.abs(np.corrcoef(labels))


@cache
def _drawn() -> dict[str, torch.Tensor]:
    """The training labels of the benchmark ``faces``."""
    return faces("train", 2400, recipe=Faces(size=32)).tensors


def labels_photographed(tasks: Sequence[str]) -> np.ndarray:
    """Give the same of CelebA, from ``book/studies/company.py``.

    Raises:
        FileNotFoundError: its file is not here.
        ValueError: an unknown attribute.
    """
    known = records.load("company/celeba")
    whole = np.eye(len(known["tasks"]))
    above = np.triu_indices_from(whole, 1)
    whole[above] = whole.T[above] = np.abs(known["correlation"])
    rows = [known["tasks"].index(task) for task in tasks]
    return whole[np.ix_(rows, rows)]


def match_regions(tasks: Sequence[str], similarity: Any) -> float:
    """Give the adjusted Rand index of a similarity's clusters against the regions of the face.

    Args:
        tasks: attributes of the synthetic faces.
        similarity: (T, T).

    Example:
        >>> tasks = ["Goatee", "Mustache", "Eyeglasses", "Narrow_Eyes"]
        >>> alike = np.kron(np.eye(2), [[0, 0.8], [0.8, 0]]) + np.eye(4)
        >>> match_regions(tasks, alike)
        1.0
    """
    from sklearn.metrics import adjusted_rand_score

    region = {task: name for name, of in REGIONS.items() for task in of}
    return adjusted_rand_score([region[task] for task in tasks], cluster_tasks(similarity))
