"""What the gates say: where each task's capacity goes, who is alike, whose filter it is.

Everything is computed from the importance matrix I of shape (T, F), ``I[t, i] = σ(γ_{t,i})``: how
far filter i of the shared trunk is open for task t (Suteu & Serban, arXiv 2512.20420, section 5).
Functions take an `Importance`, a tensor or an array, and return float64 tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from tssbn.gradients import cosines
from tssbn.norm import SigmoidNorm, TaskSigmoidNorm
from tssbn.tasks import find_tasks

if TYPE_CHECKING:
    import pandas

__all__ = [
    "CapacitySplit",
    "Importance",
    "capacity",
    "capacity_split",
    "importance",
    "most_specialised",
    "removed",
    "shuffled",
    "similarity",
    "specialised",
]


ROUNDING = 1e-12  # what differs by so little, relative to the largest, differs by rounding


@dataclass(frozen=True)
class Importance:
    """The importance matrix of a network.

    Attributes:
        values: (T, F) in (0, 1), the layers' channels one after another; float64, on the CPU.
        tasks: The T task names.
        layers: How many channels each layer has, by name, in the order of the columns.

    Raises:
        ValueError: If the values are not a row for each task, a column for each channel.
    """

    values: Tensor
    tasks: tuple[str, ...]
    layers: dict[str, int]

    def __post_init__(self) -> None:
        shape, expected = tuple(self.values.shape), (len(self.tasks), sum(self.layers.values()))
        if shape != expected:
            raise ValueError(
                f"values have shape {shape}, expected {expected}: a row for each of the tasks "
                f"{list(self.tasks)}, a column for each channel of the layers"
            )

    def by_layer(self) -> dict[str, Tensor]:
        """The matrix cut into its layers, each (T, C)."""
        parts = self.values.split(list(self.layers.values()), dim=1)
        return dict(zip(self.layers, parts, strict=True))

    def frame(self) -> pandas.DataFrame:
        """As a pandas frame: a row for each task, a column for each (layer, channel)."""
        import pandas

        columns = [(layer, i) for layer, count in self.layers.items() for i in range(count)]
        names = ["layer", "channel"]
        return pandas.DataFrame(
            self.values.numpy(),
            index=pandas.Index(self.tasks, name="task"),
            columns=pandas.MultiIndex.from_tuples(columns, names=names),
        )


class CapacitySplit(NamedTuple):
    """The two parts of each task's capacity; both (T,). Their squares add up to its square."""

    shared: Tensor
    independent: Tensor


def importance(model: nn.Module) -> Importance:
    """The importance matrix of a network: of its TSσBN layers, or a single row of its σBN layers.

    Raises:
        ValueError: If there are no σ layers, or a gate is not a number (a diverged run).

    Example:
        >>> import torch, tssbn
        >>> net = tssbn.task_specific(torch.nn.BatchNorm2d(4), ("seg", "depth"))
        >>> tssbn.gates.importance(net).values
        tensor([[0.5000, 0.5000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    tasks, layers = _gated(model)
    rows = {}
    for name, layer in layers.items():
        gamma = layer.gamma.detach().cpu().double().reshape(len(tasks), -1)
        if gamma.isnan().any():
            bad = [tasks[t] for t in gamma.isnan().any(dim=1).nonzero().flatten().tolist()]
            raise ValueError(f"layer {name!r} has gates that are not numbers, for tasks {bad}")
        rows[name] = torch.sigmoid(gamma)
    widths = {name: row.shape[1] for name, row in rows.items()}
    return Importance(torch.cat(list(rows.values()), dim=1), tasks, widths)


@contextmanager
def removed(model: nn.Module, filters: Any) -> Iterator[None]:
    """Take filters out of a network, for every task, for as long as the context lasts.

    Their normalised output is exactly 0: their gates are shut (γ = -∞), and biases that an affine
    mode kept are 0. Nothing is trained to make up for it. Afterwards gates and biases are bit for
    bit what they were. (So filters are removed in Figure 4, right, of arXiv 2512.20420.)

    Args:
        model: A network whose `importance` can be read.
        filters: True for those to remove; (F,), in the order of the importance matrix.

    Raises:
        ValueError: If there are no σ layers, or `filters` is not boolean or has another length.

    Example:
        >>> import torch, tssbn
        >>> net = tssbn.task_specific(torch.nn.BatchNorm1d(3), ("seg", "depth")).eval()
        >>> with tssbn.gates.removed(net, [False, True, False]), tssbn.select(net, "depth"):
        ...     net(torch.ones(1, 3)).detach().round(decimals=2)
        tensor([[0.5000, 0.0000, 0.5000]])
    """
    tasks, layers = _gated(model)
    filters = torch.as_tensor(filters)
    widths = [layer.gamma.numel() // len(tasks) for layer in layers.values()]
    if filters.dtype != torch.bool or filters.shape != (sum(widths),):
        raise ValueError(
            f"filters must be boolean of shape ({sum(widths)},), one for each column of the "
            f"importance matrix, got {filters.dtype} of shape {tuple(filters.shape)}"
        )
    saved = []
    try:
        for layer, chosen in zip(layers.values(), filters.split(widths), strict=True):
            for parameter, without in (layer.gamma, -torch.inf), (layer.beta, 0.0):
                if parameter is not None:
                    saved.append((parameter, parameter.detach().clone()))
                    rows = parameter.detach().view(len(tasks), -1)
                    rows[:, chosen.to(rows.device)] = without
        yield
    finally:
        for parameter, before in saved:
            parameter.detach().copy_(before)


def capacity(matrix: Any) -> Tensor:
    """C_t: the mean importance of each task over all filters, (T,)."""
    return _matrix(matrix).mean(dim=1)


def capacity_split(matrix: Any, centred: bool = False) -> CapacitySplit:
    """Divide each task's capacity into a part that the other tasks' gates explain, and its own.

    The task's row is projected on the span of the other rows by least squares, Î_t = A A⁺ I_t; the
    capacity is divided in the proportions ‖Î_t‖ and ‖I_t - Î_t‖ to ‖I_t‖ (arXiv 2512.20420,
    equations 4 and 5), so that C_t² = shared² + independent². A single task shares nothing.

    Args:
        matrix: The importance matrix, (T, F) with F >= T.
        centred: Subtract each row's mean before projecting. Gates are all positive, so two rows
            with nothing in common still look alike by their means; centred they do not.

    Returns:
        NaN for a row without a direction (zeros, or of equal gates if `centred`).

    Example:
        >>> import tssbn
        >>> tssbn.gates.capacity_split([[1.0, 0.0], [0.0, 1.0]]).shared
        tensor([0., 0.], dtype=torch.float64)
    """
    rows = _matrix(matrix)
    total = rows.mean(dim=1)
    if centred:
        rows = deviations(rows, rows.mean(dim=1, keepdim=True))
    shared = torch.full_like(total, torch.nan)
    independent = torch.full_like(total, torch.nan)
    for t in rows.any(dim=1).nonzero().flatten().tolist():
        row = rows[t] / rows[t].abs().max()  # so that no square underflows
        row = row / row.norm()
        basis = _basis(torch.cat([rows[:t], rows[t + 1 :]]))
        explained = (basis @ row) @ basis
        shared[t] = explained.norm() * total[t]
        independent[t] = (row - explained).norm() * total[t]
    return CapacitySplit(shared, independent)


def shuffled(importance: Importance, generator: torch.Generator) -> Importance:
    """The null for every analysis of gates: which channel a gate belongs to, forgotten.

    Within each layer each task's gates change places, every task's on its own. So every task keeps
    its gates in every layer, and with them its capacity, while what two tasks have in common or
    apart at a channel is left to chance. A measure that gives the same on shuffled gates says
    nothing about channels.

    Example:
        >>> import torch, tssbn
        >>> values = torch.tensor([[0.1, 0.2, 0.3, 0.9], [0.1, 0.2, 0.3, 0.9]]).double()
        >>> gates = tssbn.gates.Importance(values, ("seg", "depth"), {"1": 3, "4": 1})
        >>> tssbn.gates.shuffled(gates, torch.Generator().manual_seed(0)).values
        tensor([[0.3000, 0.1000, 0.2000, 0.9000],
                [0.1000, 0.2000, 0.3000, 0.9000]], dtype=torch.float64)
    """
    parts = []
    for part in importance.by_layer().values():
        order = torch.rand(part.shape, generator=generator).argsort(dim=1)
        parts.append(part.gather(1, order))
    return replace(importance, values=torch.cat(parts, dim=1))


def similarity(matrix: Any, centred: bool = False) -> Tensor:
    """Cosine between the importances of every two tasks, (T, T).

    Args:
        matrix: The importance matrix, (T, F).
        centred: Subtract each row's mean first, which makes it Pearson's correlation; NaN for a
            row of equal gates, which has no direction left.

    Returns:
        In [-1, 1], exactly 1 on the diagonal, however small the gates; NaN for a row of zeros.

    Example:
        >>> import tssbn
        >>> tssbn.gates.similarity([[0.6, 0.8], [0.8, 0.6]])
        tensor([[1.0000, 0.9600],
                [0.9600, 1.0000]], dtype=torch.float64)
    """
    rows = _matrix(matrix)
    if centred:
        rows = deviations(rows, rows.mean(dim=1, keepdim=True))
    zero = (rows == 0).all(dim=1)
    return cosines(rows).masked_fill(zero[:, None] | zero, torch.nan)


def specialised(matrix: Any, tau: float = 0.5) -> Tensor:
    """Whose each filter is: the index of its task, or -1 where no task owns it; (F,).

    Filter i belongs to task t if ``I[t, i] / Σ_t' I[t', i] > τ`` (arXiv 2512.20420, section 5).

    Args:
        matrix: The importance matrix, (T, F).
        tau: The share of the filter's importance that a task must hold. At 0.5, the paper's, its
            gate is wider than all the others together: of two tasks one nearly always has that,
            among many it is rare. Below 0.5 several tasks may hold enough, and the filter is that
            of the largest share; below 1/T no filter is left over.

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
    """For each task the filters of which it holds the largest shares; boolean (T, F).

    These are the first to be its own when τ of `specialised` is lowered. Two tasks may name the
    same filter.

    Args:
        matrix: The importance matrix, (T, F).
        count: How many filters for each task; of equal shares the first columns.

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


def _gated(model: nn.Module) -> tuple[tuple[str, ...], dict[str, nn.Module]]:
    """The tasks of a network, and the σ layers whose gates are its importance matrix."""
    found = find_tasks(model)
    if len(found) > 1:
        raise ValueError(f"{type(model).__name__} holds {len(found)} converted trunks: pass one")
    kind = TaskSigmoidNorm if found else SigmoidNorm
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, kind)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no σ layers, so no importances")
    return (found[0].names if found else ("",)), layers


def deviations(rows: Tensor, level: Tensor) -> Tensor:
    """Take a level, such as its mean, from each row; all 0 where no more than rounding is left.

    Example:
        >>> import torch, tssbn
        >>> rows = torch.tensor([[0.1, 0.3], [0.7, 0.7]]).double()
        >>> tssbn.gates.deviations(rows, rows.mean(dim=1, keepdim=True))
        tensor([[-0.1000,  0.1000],
                [ 0.0000,  0.0000]], dtype=torch.float64)
    """
    apart, size = rows - level, rows.abs().amax(dim=1, keepdim=True)
    return apart.masked_fill(apart.abs().amax(dim=1, keepdim=True) <= ROUNDING * size, 0.0)


def _basis(rows: Tensor) -> Tensor:
    """Orthonormal rows that span the same; rows that are combinations up to rounding add none.

    By Gram and Schmidt, of each row's difference from the nearest row before it, or from zero.
    Of two rows that hardly differ a projection leaves rounding errors; their difference is exact.
    """
    basis, noise = rows[:0], 32 * torch.finfo(rows.dtype).eps * rows.shape[1] ** 0.5
    for s, row in enumerate(rows):
        apart = row - torch.cat([torch.zeros_like(row)[None], rows[:s]])
        apart = apart[apart.abs().amax(dim=1).argmin()]
        size = apart.abs().max()
        left = apart / size  # so that no square underflows
        for _ in range(2):  # what rounding leaves of the others after once is gone after twice
            left = left - (basis @ left) @ basis
        if size * left.norm() > noise * row.abs().max():  # False for NaN, of rows that are equal
            basis = torch.cat([basis, (left / left.norm())[None]])
    return basis


def _shares(matrix: Any) -> Tensor:
    """What each task holds of each filter's importance, (T, F); 0 of one that is shut for all."""
    rows = _matrix(matrix)
    total = rows.sum(dim=0)
    if (rows < 0).any() or not total.isfinite().all():
        raise ValueError(
            f"importances are gates, 0 or more, and of a finite sum; got values from "
            f"{rows.min():g} to {rows.max():g}"
        )
    return (rows / total).nan_to_num(0.0)


def _matrix(matrix: Any) -> Tensor:
    """As a finite (T, F) tensor in float64."""
    if isinstance(matrix, nn.Module):
        raise ValueError(f"pass importance(net), not the {type(matrix).__name__} itself")
    values = matrix.values if isinstance(matrix, Importance) else matrix
    values = torch.as_tensor(values, dtype=torch.float64, device="cpu").detach()
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"the importance matrix has shape {tuple(values.shape)}, not (T, F)")
    if not values.isfinite().all():
        raise ValueError("the importance matrix has entries that are not finite")
    return values
