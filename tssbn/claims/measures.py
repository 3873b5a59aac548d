"""Numbers of one run that the paper's claims are about (arXiv 2512.20420, section 5).

Most take the gates, an :class:`tssbn.gates.Importance`. Shares are in percent. The null of most is
the same number of shuffled gates: :mod:`tssbn.claims.nulls`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tssbn import gates
from tssbn.clusters import rank_correlations
from tssbn.gates import Importance

__all__ = [
    "agreement",
    "binary",
    "capacity_gap",
    "cohesion",
    "depth_slope",
    "early_cosine",
    "largest_capacity",
    "shared_capacity",
    "spread",
]


def shared_capacity(importance: Importance) -> float:
    """Give the part of its capacity that other tasks' gates explain, of the task with the least."""
    split = gates.capacity_split(importance)
    return 100 * (split.shared / gates.capacity(importance)).min().item()


def largest_capacity(importance: Importance) -> float:
    """Give the share that the task with most capacity has of all tasks' capacity."""
    capacity = gates.capacity(importance)
    return 100 * (capacity.max() / capacity.sum()).item()


def capacity_gap(importance: Importance) -> float:
    """Give the capacity of the second of two tasks, less that of the first."""
    first, second = gates.capacity(importance).tolist()
    return second - first


def depth_slope(importance: Importance) -> float:
    """Give by how much more filters are of a single task in the last layer than in the first.

    In points, along a straight line through the shares of the layers, in the order in which they
    are listed.

    Example:
        >>> values = torch.tensor([[0.5, 0.5, 0.9, 0.1], [0.5, 0.5, 0.1, 0.9]]).double()
        >>> round(depth_slope(Importance(values, ("seg", "depth"), {"1": 2, "4": 2})))
        100
    """
    layers = importance.by_layer().values()
    share = [100 * (gates.specialised(part) >= 0).double().mean().item() for part in layers]
    return float(np.polyfit(np.linspace(0, 1, len(share)), share, 1)[0]) if len(share) > 1 else 0.0


def spread(importance: Importance) -> float:
    """Give the standard deviation of the gates."""
    return importance.values.std().item()


def binary(importance: Importance) -> float:
    """Give the share of the gates that are within 0.05 of shut or open."""
    values = importance.values
    return 100 * ((values < 0.05) | (values > 0.95)).double().mean().item()


def agreement(matrices: Sequence[torch.Tensor]) -> float:
    """Give Spearman's correlation of similarities, the mean over pairs of runs.

    Of several runs, so it goes into :func:`tssbn.claims.pseudo_values`.

    Args:
        matrices: the similarity of each run, (T, T).
    """
    return rank_correlations(matrices).mean().item()


def cohesion(
    similarity: torch.Tensor, group: Collection[int], draws: int = 2000, seed: int = 0
) -> float:
    """Give the share of random groups of as many tasks that hold together less than a group does.

    A group holds together by the mean similarity within it, less that with all other tasks. A group
    of any tasks is at 50 in the mean.

    Args:
        similarity: (T, T), such as :func:`tssbn.gates.similarity` of centred gates.
        group: the tasks, as rows; two or more, and not all.
        draws: random groups.
        seed: of the draws.

    Raises:
        ValueError: a group of fewer than two tasks, or of all.

    Example:
        >>> alike = torch.eye(6).double()
        >>> alike[:2, :2] = 1.0
        >>> cohesion(alike, [0, 1]) > 90
        True
    """
    matrix = np.asarray(similarity, dtype=float)
    tasks, size = len(matrix), len(group)
    if not 2 <= size < tasks:
        raise ValueError(f"a group of {size} of {tasks} tasks: take two or more, and not all")
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(np.arange(tasks), (draws, 1)), axis=1)[:, :size]
    own, chance = _gap(matrix, np.array([list(group)])), _gap(matrix, drawn)
    return float(100 * (chance < own - 1e-12).mean())


def _gap(matrix: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Similarity within each group, less that with the rest; (G, size) -> (G,)."""
    member = np.zeros((len(groups), len(matrix)))
    np.put_along_axis(member, groups, 1.0, axis=1)
    rows = member @ matrix
    size, rest = groups.shape[1], len(matrix) - groups.shape[1]
    within = ((rows * member).sum(1) - member @ matrix.diagonal()) / (size * (size - 1))
    across = (rows * (1 - member)).sum(1) / (size * rest)
    return within - across


def early_cosine(run: Mapping[str, Any]) -> float:
    """Give the root mean square of the cosines between gradients in the first epoch.

    Over pairs of tasks and steps.

    Args:
        run: a saved run that was trained with ``angles``.

    Example:
        >>> run = {
        ...     "angles": {"steps": [1, 5, 9], "all": [[0.1, -0.1], [0.1, 0.1], [0.9, 0.9]]},
        ...     "data": {"splits": {"train": {"samples": 80}}},
        ...     "recipe": {"batch": 16},
        ... }
        >>> round(early_cosine(run), 3)
        0.1
    """
    steps = run["data"]["splits"]["train"]["samples"] / run["recipe"]["batch"]
    early = np.array(run["angles"]["steps"]) <= np.ceil(steps)
    cosines = np.array(run["angles"]["all"])[early]
    return float(np.sqrt(np.square(cosines).mean()))
