"""Analyse task similarities: split them, compare them over several runs, and cluster the tasks.

A similarity matrix is (T, T), symmetric, with 1 on the diagonal, as :func:`tssbn.gates.similarity`
returns it. Functions take tensors or arrays and return float64 tensors.
They need scipy and scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tssbn.deprecation import former_names
from tssbn.gates import Importance
from tssbn.gates.measures import ROUNDING, deviations

__all__ = [
    "DepthAndChannels",
    "PartialCorrelation",
    "cluster_tasks",
    "coassociation",
    "consensus",
    "depth_and_channel_parts",
    "linkage",
    "partial_rank_correlations",
    "rank_correlations",
]

__getattr__ = former_names(
    __name__,
    Parts="DepthAndChannels",
    agreement="rank_correlations",
    clusters="cluster_tasks",
    cooccurrence="coassociation",
    parts="depth_and_channel_parts",
    tree="linkage",
)


class DepthAndChannels(NamedTuple):
    """The two parts of centred gates, both (T, F); their sum is the matrix less its row means."""

    depth: Tensor
    channels: Tensor


class PartialCorrelation(NamedTuple):
    """A correlation with one cause where the others are held fixed, and its two-sided p value."""

    value: float
    p: float


def depth_and_channel_parts(importance: Importance) -> DepthAndChannels:
    """Split centred gates into differences between layers and differences within layers.

    ``depth`` is, at each channel, the mean gate of the layer minus the mean of the row;
    ``channels`` is the gate minus the mean of its layer. Rows of the two parts are orthogonal, so
    the inner product of two centred rows is the sum of the inner products of their parts.
    Permuting gates within layers (:func:`tssbn.gates.permuted`) does not change ``depth``.

    Example:
        >>> values = torch.tensor([[0.1, 0.3, 0.8], [0.2, 0.2, 0.5]]).double()
        >>> gates = Importance(values, ("seg", "depth"), {"1": 2, "4": 1})
        >>> depth, channels = depth_and_channel_parts(gates)
        >>> depth
        tensor([[-0.2000, -0.2000,  0.4000],
                [-0.1000, -0.1000,  0.2000]], dtype=torch.float64)
        >>> channels
        tensor([[-0.1000,  0.1000,  0.0000],
                [ 0.0000,  0.0000,  0.0000]], dtype=torch.float64)
    """
    layers = [part.double() for part in importance.by_layer().values()]
    level = torch.cat([part.mean(1, keepdim=True).expand_as(part) for part in layers], dim=1)
    values = torch.cat(layers, dim=1)
    mean = values.mean(dim=1, keepdim=True)
    return DepthAndChannels(deviations(level, mean), deviations(values, level))


def rank_correlations(matrices: Iterable[Any]) -> Tensor:
    """Compute Spearman's correlation of every two matrices over the pairs of tasks; (R(R-1)/2,).

    Uses the ranks of the entries above the diagonal; entries that differ only by rounding share a
    rank. It thus compares the order of the pairs of tasks by similarity, not the similarities
    themselves (arXiv 2512.20420, section 5.2). The matrices only have to be symmetric.

    Args:
        matrices: R >= 2 matrices, each (T, T) with T >= 3.

    Returns:
        In the order of ``itertools.combinations``: runs 1 and 2, 1 and 3, ..., 2 and 3, and so on.
        NaN if all entries above the diagonal of a matrix are equal.

    Raises:
        ValueError: fewer than two matrices, of different sizes, not symmetric, not finite, or of
            fewer than three tasks.

    Example:
        >>> one = [[1, 0.8, 0.1], [0.8, 1, 0.3], [0.1, 0.3, 1]]
        >>> two = [[1, 0.5, 0.2], [0.5, 1, 0.4], [0.2, 0.4, 1]]
        >>> rank_correlations([one, two])
        tensor([1.0000], dtype=torch.float64)
    """
    from scipy.stats import rankdata

    checked = _same_size([_symmetric(matrix, least=3) for matrix in matrices])
    above = np.triu_indices(len(checked[0]), 1)
    ranks = torch.tensor(np.stack([rankdata(matrix[above]) for matrix in checked]))
    ranks = ranks - ranks.mean(dim=1, keepdim=True)
    ranks = ranks / ranks.norm(dim=1, keepdim=True)  # 0/0 is NaN
    first, second = np.triu_indices(len(checked), 1)
    return (ranks[first] * ranks[second]).sum(dim=1).clamp(-1, 1)


def partial_rank_correlations(
    similarity: Any, causes: Mapping[str, Any], draws: int = 1000, seed: int = 0
) -> dict[str, PartialCorrelation]:
    """Compute the partial rank correlation of a similarity with each of several causes.

    The other causes are held fixed. Pairs that share a task are not independent, so the p value
    comes from permuting the tasks in the residual of a cause after regression on the others
    (double semi-partialling; Dekker, Krackhardt and Snijders 2007).

    Args:
        similarity: (T, T), of four tasks or more.
        causes: by name, a symmetric (T, T) that is larger where two tasks have more in common.
        draws: number of random permutations.
        seed: of the permutations.

    Raises:
        ValueError: matrices of different sizes, not symmetric or not finite, or one of which the
            others leave nothing.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> one, two, noise = (m + m.T for m in rng.normal(size=(3, 12, 12)))
        >>> found = partial_rank_correlations(one + noise / 3, {"one": one, "two": two})
        >>> found["one"].p, round(found["one"].value, 1), found["two"].p > 0.05
        (0.000999000999000999, 0.9, True)
    """
    from scipy.stats import rankdata

    matrices = [_symmetric(matrix, least=4) for matrix in (similarity, *causes.values())]
    tasks = len(_same_size(matrices)[0])
    above = np.triu_indices(tasks, 1)
    ranks = rankdata([matrix[above] for matrix in matrices], axis=1)
    dice, found = np.random.default_rng(seed), {}
    for row, cause in enumerate(causes, 1):
        fixed = [np.ones(len(above[0])), *np.delete(ranks, [0, row], axis=0)]
        basis = np.linalg.qr(np.transpose(fixed))[0]
        rest = ranks - ranks @ basis @ basis.T
        if (np.linalg.norm(rest[[0, row]], axis=1) < 1e-9 * tasks).any():
            raise ValueError(f"the causes other than {cause} leave nothing of it, or of the whole")
        named = np.zeros((tasks, tasks))
        named[above] = named.T[above] = rest[row]
        orders = [np.arange(tasks), *(dice.permutation(tasks) for _ in range(draws))]
        drawn = np.stack([named[np.ix_(order, order)][above] for order in orders])
        drawn -= drawn @ basis @ basis.T
        r = drawn @ rest[0] / np.linalg.norm(drawn, axis=1) / np.linalg.norm(rest[0])
        p = (np.abs(r) > abs(r[0]) - 1e-12).mean()
        found[cause] = PartialCorrelation(float(r[0]), float(p))
    return found


def linkage(similarity: Any) -> np.ndarray:
    """Join tasks by average linkage on 1 - similarity, the nearest first.

    Returns:
        (T - 1, 4), as scipy's ``linkage`` returns it, for its ``dendrogram``.

    Raises:
        ValueError: a matrix that is not a similarity matrix, or one of fewer than two tasks.

    Example:
        >>> linkage([[1, 0.8, 0.1], [0.8, 1, 0.3], [0.1, 0.3, 1]]).round(2)
        array([[0. , 1. , 0.2, 2. ],
               [2. , 3. , 0.8, 3. ]])
    """
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    return hierarchy.linkage(squareform(_distance(similarity, least=2), checks=False), "average")


def cluster_tasks(similarity: Any, k: int | None = None) -> Tensor:
    """Cluster the tasks of one run, by a cut through its :func:`linkage`; (T,).

    Args:
        similarity: (T, T).
        k: The number of clusters; by default the number from 2 to T - 1 with the highest mean
            silhouette, or the smallest such number.

    Returns:
        The cluster of each task, numbered from 0 in the order of the first task of each.

    Raises:
        ValueError: a matrix that is not a similarity matrix, one of fewer than three tasks or of
            tasks that are all equally alike up to rounding, as those of an untrained network are,
            or a `k` that is no integer from 1 to T.

    Example:
        >>> cluster_tasks([[1, 0.8, 0.1], [0.8, 1, 0.3], [0.1, 0.3, 1]])
        tensor([0, 0, 1])
    """
    from scipy.cluster.hierarchy import cut_tree
    from sklearn.metrics import silhouette_score

    distance = _distance(similarity, least=3)
    tasks = len(distance)
    if k is not None and k not in range(1, tasks + 1):
        raise ValueError(f"k={k!r} must be an integer from 1 to {tasks}, the number of tasks")
    if np.ptp(distance[np.triu_indices(tasks, 1)]) <= 2 * ROUNDING:  # either may be rounded
        raise ValueError("all tasks are equally alike (an untrained network?): nothing to cluster")
    counts = range(2, tasks) if k is None else [k]
    cuts = cut_tree(linkage(similarity), n_clusters=list(counts)).T
    if k is None:
        scores = [silhouette_score(distance, cut, metric="precomputed") for cut in cuts]
        cuts = cuts[int(np.argmax(np.round(scores, 12))) :]
    _, first, label = np.unique(cuts[0], return_index=True, return_inverse=True)
    return torch.from_numpy(first.argsort().argsort()[label])


def coassociation(labels: Any) -> Tensor:
    """Compute the share of the runs in which two tasks are in the same cluster, (T, T).

    Args:
        labels: (R, T), the clusters of each run; their numbers may differ between runs.

    Raises:
        ValueError: not a matrix, an empty one, or one with NaN.

    Example:
        >>> coassociation([[0, 0, 1], [1, 0, 0]])
        tensor([[1.0000, 0.5000, 0.0000],
                [0.5000, 1.0000, 0.5000],
                [0.0000, 0.5000, 1.0000]], dtype=torch.float64)
    """
    labels = torch.as_tensor(np.asarray(labels))
    if labels.ndim != 2 or 0 in labels.shape:
        raise ValueError(f"labels have shape {tuple(labels.shape)}, not (runs, tasks)")
    if labels.isnan().any():
        raise ValueError("labels are NaN in places: each task of each run needs a cluster")
    return (labels[:, :, None] == labels[:, None, :]).double().mean(dim=0)


def consensus(similarities: Iterable[Any], k: int | None = None) -> Tensor:
    """Compute one clustering of the tasks from several runs, (T,).

    Clusters each run, then clusters the co-association matrix of the runs. The paper uses this
    scheme without details; here both steps are :func:`cluster_tasks`.

    Args:
        similarities: one (T, T) of each run, one run or more.
        k: The number of clusters in both steps; by default each step chooses its own.

    Raises:
        ValueError: no run, or what :func:`cluster_tasks` refuses.

    Example:
        >>> one = [[1, 0.8, 0.1], [0.8, 1, 0.3], [0.1, 0.3, 1]]
        >>> two = [[1, 0.5, 0.2], [0.5, 1, 0.4], [0.2, 0.4, 1]]
        >>> consensus([one, two])
        tensor([0, 0, 1])
    """
    labels = [cluster_tasks(similarity, k) for similarity in similarities]
    if not labels:
        raise ValueError("there are no similarities to agree on")
    _same_size(labels, least=1)
    return cluster_tasks(coassociation(torch.stack(labels)), k)


def _symmetric(matrix: Any, least: int) -> np.ndarray:
    """Convert to a symmetric, finite (T, T) array in float64.

    Entries that are the same to 12 digits of the largest share one of their values: what should be
    equal is equal, whatever the order of sums.
    """
    if isinstance(matrix, Tensor):
        matrix = matrix.detach().cpu().double()
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < least:
        raise ValueError(f"a matrix has shape {values.shape}, not (T, T) of {least} tasks or more")
    if not np.isfinite(values).all():
        raise ValueError(
            "a matrix has entries that are not finite; gates that are all the same, as in an "
            "untrained network, have no centred similarity"
        )
    largest = np.abs(values).max() or 1.0
    values = values / largest
    if not np.allclose(values, values.T, rtol=0, atol=1e-6):
        raise ValueError("a matrix is not symmetric")
    values = ((values + values.T) / 2).ravel()
    _, first, group = np.unique(values.round(12), return_index=True, return_inverse=True)
    return (values[first][group] * largest).reshape(len(matrix), -1)


def _distance(similarity: Any, least: int) -> np.ndarray:
    values = _symmetric(similarity, least)
    if not np.allclose(values.diagonal(), 1, atol=1e-6) or values.max() > 1 + 1e-6:
        raise ValueError("a similarity matrix has 1 on its diagonal, and nothing above it")
    distance = np.clip(1 - values, 0, None)
    np.fill_diagonal(distance, 0)
    return distance


def _same_size(matrices: list, least: int = 2) -> list:
    sizes = [len(matrix) for matrix in matrices]
    if len(sizes) < least:
        raise ValueError(f"got {len(sizes)} matrices to compare, expected {least} or more")
    if len(set(sizes)) > 1:
        raise ValueError(f"the runs have {sizes} tasks: all must have the same")
    return matrices
