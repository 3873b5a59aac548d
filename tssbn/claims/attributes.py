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

__all__ = [
    "BEARD",
    "HAIR",
    "frequency_drawn",
    "frequency_photographed",
    "labels_drawn",
    "labels_photographed",
    "match_regions",
    "same_region",
]

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


def frequency_drawn(tasks: Sequence[str]) -> np.ndarray:
    """Give the share of the synthetic faces that have each attribute, (T,).

    Example:
        >>> bool(frequency_drawn(["Bald"]) < frequency_drawn(["No_Beard"]))
        True
    """
    return np.array([_drawn()[task].double().mean().item() for task in tasks])


@cache
def _drawn() -> dict[str, torch.Tensor]:
    """The training labels of the benchmark ``faces``; those of smaller images are the same."""
    return faces("train", 2400, recipe=Faces(size=16)).tensors


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


def frequency_photographed(tasks: Sequence[str]) -> np.ndarray:
    """Give the same share of CelebA's faces, from ``book/studies/company.py``; (T,).

    Raises:
        FileNotFoundError: its file is not here.
        ValueError: an unknown attribute.
    """
    known = records.load("company/celeba")
    return np.array([known["frequency"][known["tasks"].index(task)] for task in tasks])


def same_region(tasks: Sequence[str]) -> np.ndarray:
    """Say which two attributes show in the same region of the face, (T, T).

    Attributes of no region, such as Young, share theirs with none.

    Example:
        >>> same_region(["Goatee", "Mustache", "Young"]).astype(int)
        array([[1, 1, 0],
               [1, 1, 0],
               [0, 0, 1]])
    """
    region = np.array([_regions().get(task, task) for task in tasks])
    return region[:, None] == region


def _regions() -> dict[str, str]:
    """The region of each attribute that has one."""
    return {task: name for name, of in REGIONS.items() for task in of}


def match_regions(tasks: Sequence[str], similarity: Any) -> float:
    """Give the adjusted Rand index of a similarity's clusters against the regions of the face.

    Attributes of no region, such as Young, are left out.

    Args:
        tasks: attributes of faces.
        similarity: (T, T).

    Example:
        >>> tasks = ["Goatee", "Mustache", "Young", "Eyeglasses", "Narrow_Eyes"]
        >>> alike = np.eye(5)
        >>> alike[0, 1] = alike[1, 0] = alike[3, 4] = alike[4, 3] = 0.8
        >>> match_regions(tasks, alike)
        1.0
    """
    from sklearn.metrics import adjusted_rand_score

    region = _regions()
    rows = [row for row, task in enumerate(tasks) if task in region]
    found = cluster_tasks(np.asarray(similarity)[np.ix_(rows, rows)])
    return adjusted_rand_score([region[tasks[row]] for row in rows], found)
