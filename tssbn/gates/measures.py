"""What is computed of an importance matrix: capacity, similarity, specialised filters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tssbn.gates.matrix import as_matrix
from tssbn.gradients import cosines

__all__ = [
    "CapacitySplit",
    "capacity",
    "capacity_split",
    "deviations",
    "most_specialised",
    "similarity",
    "specialised",
]

ROUNDING = 1e-12  # what differs by so little, relative to the largest, differs by rounding


class CapacitySplit(NamedTuple):
    """The two parts of each task's capacity; both (T,). Their squares add up to its square."""

    shared: Tensor
    independent: Tensor


def capacity(matrix: Any) -> Tensor:
    """Compute C_t, the mean importance of each task over all filters; (T,)."""
    return as_matrix(matrix).mean(dim=1)


def capacity_split(matrix: Any, centred: bool = False) -> CapacitySplit:
    """Split each task's capacity into a part shared with other tasks and an independent part.

    Projects the task's row on the span of the other rows by least squares, Î_t = A A⁺ I_t. The
    parts are C_t·‖Î_t‖/‖I_t‖ and C_t·‖I_t - Î_t‖/‖I_t‖ (arXiv 2512.20420, equations 4 and 5), so
    C_t² = shared² + independent². The shared part of a single task is 0.

    Args:
        matrix: The importance matrix, (T, F) with F >= T.
        centred: Subtract each row's mean before projecting. All gates are positive, so without
            this even unrelated rows have a large shared part, due to their means.

    Returns:
        NaN for a row of zeros, or of equal gates if `centred`.

    Example:
        >>> import tssbn
        >>> tssbn.gates.capacity_split([[1.0, 0.0], [0.0, 1.0]]).shared
        tensor([0., 0.], dtype=torch.float64)
    """
    rows = as_matrix(matrix)
    total = rows.mean(dim=1)
    if centred:
        rows = deviations(rows, rows.mean(dim=1, keepdim=True))
    shared = torch.full_like(total, torch.nan)
    independent = torch.full_like(total, torch.nan)
    for t, basis in enumerate(_bases_of_others(rows, 0, len(rows), rows[:0], rows[:0])):
        if not rows[t].any():
            continue
        row = rows[t] / rows[t].abs().max()  # so that no square underflows
        row = row / row.norm()
        explained = (basis @ row) @ basis
        shared[t] = explained.norm() * total[t]
        independent[t] = (row - explained).norm() * total[t]
    return CapacitySplit(shared, independent)


def similarity(matrix: Any, centred: bool = False) -> Tensor:
    """Compute the cosine between the importances of every two tasks, (T, T).

    Args:
        matrix: The importance matrix, (T, F).
        centred: Subtract each row's mean first, which gives Pearson's correlation; NaN for a
            row of equal gates.

    Returns:
        In [-1, 1], exactly 1 on the diagonal, however small the gates; NaN for a row of zeros.

    Example:
        >>> import tssbn
        >>> tssbn.gates.similarity([[0.6, 0.8], [0.8, 0.6]])
        tensor([[1.0000, 0.9600],
                [0.9600, 1.0000]], dtype=torch.float64)
    """
    rows = as_matrix(matrix)
    if centred:
        rows = deviations(rows, rows.mean(dim=1, keepdim=True))
    zero = (rows == 0).all(dim=1)
    return cosines(rows).masked_fill(zero[:, None] | zero, torch.nan)


def specialised(matrix: Any, tau: float = 0.5) -> Tensor:
    """Return the index of the task to which each filter belongs, or -1 for none; (F,).

    Filter i belongs to task t if ``I[t, i] / Σ_t' I[t', i] > τ`` (arXiv 2512.20420, section 5).

    Args:
        matrix: The importance matrix, (T, F).
        tau: The share of the filter's importance that a task must exceed. At 0.5, the paper's
            value, the task's gate must exceed the sum of all others: nearly every filter has such a
            task if T = 2, few have one if T is large. Below 0.5 several tasks may qualify; the one
            with the largest share is returned. Below 1/T every filter belongs to a task.

    Raises:
        ValueError: If `tau` is not between 0 and 1, or an importance is negative.

    Example:
        >>> import tssbn
        >>> tssbn.gates.specialised([[0.9, 0.5], [0.1, 0.5]])
        tensor([ 0, -1])
    """
    if not 0 < tau < 1:
        raise ValueError(f"tau={tau} must be between 0 and 1")
    share, owner = _shares(matrix).max(dim=0)
    return torch.where(share > tau, owner, -1)


def most_specialised(matrix: Any, count: int) -> Tensor:
    """Mark the `count` filters in which each task has its largest shares; boolean (T, F).

    As τ of `specialised` falls, a task reaches it at these filters first. One filter may be marked
    for several tasks.

    Args:
        matrix: The importance matrix, (T, F).
        count: The number of filters for each task; ties go to the first columns.

    Raises:
        ValueError: If `count` is not from 1 to F, or an importance is negative.

    Example:
        >>> import tssbn
        >>> tssbn.gates.most_specialised([[0.9, 0.5, 0.2], [0.1, 0.5, 0.1]], 1)
        tensor([[ True, False, False],
                [False,  True, False]])
    """
    shares = _shares(matrix)
    if not 1 <= count <= shares.shape[1]:
        raise ValueError(f"count={count} must be from 1 to the {shares.shape[1]} filters")
    order = shares.argsort(dim=1, descending=True, stable=True)
    return torch.zeros_like(shares, dtype=torch.bool).scatter(1, order[:, :count], True)


def deviations(rows: Tensor, level: Tensor) -> Tensor:
    """Subtract a level, such as the mean, from each row; return 0 if only rounding is left.

    Example:
        >>> import torch, tssbn
        >>> rows = torch.tensor([[0.1, 0.3], [0.7, 0.7]]).double()
        >>> tssbn.gates.measures.deviations(rows, rows.mean(dim=1, keepdim=True))
        tensor([[-0.1000,  0.1000],
                [ 0.0000,  0.0000]], dtype=torch.float64)
    """
    apart, size = rows - level, rows.abs().amax(dim=1, keepdim=True)
    return apart.masked_fill(apart.abs().amax(dim=1, keepdim=True) <= ROUNDING * size, 0.0)


def _bases_of_others(
    rows: Tensor, first: int, last: int, others: Tensor, basis: Tensor
) -> Iterator[Tensor]:
    """Find orthonormal rows of the span of all rows but t, for t from `first` to `last` - 1.

    Each half of these rows goes on from the basis of the other half, which is built once.

    Args:
        others: All rows before `first` and from `last` on, in any order.
        basis: Of the span of these.
    """
    if last - first <= 1:
        yield basis
        return
    middle = (first + last) // 2
    for start, end, more in (first, middle, rows[middle:last]), (middle, last, rows[first:middle]):
        known = torch.cat([others, more])
        yield from _bases_of_others(rows, start, end, known, _extended(basis, others, more))


def _extended(basis: Tensor, spanned: Tensor, rows: Tensor) -> Tensor:
    """Add orthonormal rows for the span of more rows; those in the span up to rounding add none.

    By Gram and Schmidt, of each row's difference from the nearest row before it, or from zero.
    Of two rows that hardly differ a projection leaves rounding errors; their difference is exact.
    """
    noise = 32 * torch.finfo(rows.dtype).eps * rows.shape[1] ** 0.5
    for s, row in enumerate(rows):
        apart = row - torch.cat([torch.zeros_like(row)[None], spanned, rows[:s]])
        apart = apart[apart.abs().amax(dim=1).argmin()]
        size = apart.abs().max()
        left = apart / size  # so that no square underflows
        for _ in range(2):  # what rounding leaves of the others after once is gone after twice
            left = left - (basis @ left) @ basis
        if size * left.norm() > noise * row.abs().max():  # False for NaN, of rows that are equal
            basis = torch.cat([basis, (left / left.norm())[None]])
    return basis


def _shares(matrix: Any) -> Tensor:
    """Divide each filter's importance among the tasks, (T, F); 0 of one that is shut for all."""
    rows = as_matrix(matrix)
    total = rows.sum(dim=0)
    if (rows < 0).any() or not total.isfinite().all():
        raise ValueError(
            f"importances are gates, 0 or more, and of a finite sum; got values from "
            f"{rows.min():g} to {rows.max():g}"
        )
    return (rows / total).nan_to_num(0.0)
