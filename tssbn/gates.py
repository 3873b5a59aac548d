"""What the gates say: where each task's capacity goes, who is alike, whose filter it is.

Everything is computed from the importance matrix I of shape (T, F), ``I[t, i] = σ(γ_{t,i})``: how
far filter i of the shared trunk is open for task t (Suteu & Serban, arXiv 2512.20420, section 5).
Functions take an `Importance`, a tensor or an array, and return float64 tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from tssbn.norm import SigmoidNorm, TaskSigmoidNorm
from tssbn.selection import selections

if TYPE_CHECKING:
    import pandas

__all__ = [
    "CapacitySplit",
    "Importance",
    "capacity",
    "capacity_split",
    "importance",
    "similarity",
    "specialised",
]


@dataclass(frozen=True)
class Importance:
    """The importance matrix of a network.

    Attributes:
        values: (T, F) in (0, 1), the layers' channels one after another; float64, on the CPU.
        tasks: The T task names.
        layers: How many channels each layer has, by name, in the order of the columns.
    """

    values: Tensor
    tasks: tuple[str, ...]
    layers: dict[str, int]

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
    found = selections(model)
    if len(found) > 1:
        raise ValueError(f"{type(model).__name__} holds {len(found)} converted trunks: pass one")
    kind = TaskSigmoidNorm if found else SigmoidNorm
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, kind)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no σ layers, so no importances")
    tasks = found[0].names if found else ("",)
    rows = {}
    for name, layer in layers.items():
        gamma = layer.gamma.detach().double().cpu().reshape(len(tasks), -1)
        if gamma.isnan().any():
            bad = [tasks[t] for t in gamma.isnan().any(dim=1).nonzero().flatten().tolist()]
            raise ValueError(f"layer {name!r} has gates that are not numbers, for tasks {bad}")
        rows[name] = torch.sigmoid(gamma)
    widths = {name: row.shape[1] for name, row in rows.items()}
    return Importance(torch.cat(list(rows.values()), dim=1), tasks, widths)


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
            with nothing in common still look alike by their means; centred they do not. A row of
            equal gates has no direction left, and its parts are NaN.

    Example:
        >>> import tssbn
        >>> tssbn.gates.capacity_split([[1.0, 0.0], [0.0, 1.0]]).shared
        tensor([0., 0.], dtype=torch.float64)
    """
    rows = _matrix(matrix)
    total = rows.mean(dim=1)
    if centred:
        rows = rows - rows.mean(dim=1, keepdim=True)
    shared = torch.zeros_like(total)
    independent = torch.zeros_like(total)
    for t, row in enumerate(rows):
        others = torch.cat([rows[:t], rows[t + 1 :]]).T  # A, (F, T-1)
        explained = others @ (torch.linalg.pinv(others) @ row)
        norm = row.norm() if row.norm() > 1e-12 * len(row) else torch.nan
        shared[t] = explained.norm() / norm * total[t]
        independent[t] = (row - explained).norm() / norm * total[t]
    return CapacitySplit(shared, independent)


def similarity(matrix: Any, centred: bool = False) -> Tensor:
    """Cosine between the importances of every two tasks, (T, T).

    Args:
        matrix: The importance matrix, (T, F).
        centred: Subtract each row's mean first, which makes it Pearson's correlation.
    """
    rows = _matrix(matrix)
    if centred:
        rows = rows - rows.mean(dim=1, keepdim=True)
    rows = rows / rows.norm(dim=1, keepdim=True)
    return rows @ rows.T


def specialised(matrix: Any, tau: float = 0.5) -> Tensor:
    """Whose each filter is: the index of its task, or -1 where no task owns it; (F,).

    Filter i belongs to task t if ``I[t, i] / Σ_t' I[t', i] > τ`` (arXiv 2512.20420, section 5).

    Args:
        matrix: The importance matrix, (T, F).
        tau: The share of the filter's importance that a task must hold; at least 0.5, so that no
            two tasks own a filter. With two tasks 0.5 gives every filter to somebody; there 0.75
            asks for a gate three times as wide as the other's.

    Raises:
        ValueError: If `tau` is outside [0.5, 1).

    Example:
        >>> import tssbn
        >>> tssbn.gates.specialised([[0.9, 0.5], [0.1, 0.5]])
        tensor([ 0, -1])
    """
    if not 0.5 <= tau < 1:
        raise ValueError(f"tau={tau} must be at least 0.5 and below 1")
    rows = _matrix(matrix)
    share, owner = (rows / rows.sum(dim=0)).max(dim=0)
    return torch.where(share > tau, owner, -1)


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
