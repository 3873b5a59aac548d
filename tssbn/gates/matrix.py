"""The importance matrix of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tssbn.norm import SigmoidNorm, TaskSigmoidNorm
from tssbn.tasks import find_tasks

if TYPE_CHECKING:
    import pandas

__all__ = ["Importance", "as_matrix", "importance", "sigma_layers"]


@dataclass(frozen=True, repr=False)
class Importance:
    """The importance matrix of a network.

    Attributes:
        values: (T, F) in (0, 1), with the channels of all layers in order; float64, on the CPU.
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

    def __repr__(self) -> str:
        """Say the size; 40 tasks and 100 layers by name fill a screen.

        Example:
            >>> Importance(torch.zeros(2, 3), ("seg", "depth"), {"stem": 1, "layer1": 2})
            Importance(2 tasks, 3 channels in 2 layers)
        """
        tasks, channels = self.values.shape
        return f"Importance({tasks} tasks, {channels} channels in {len(self.layers)} layers)"

    def by_layer(self) -> dict[str, Tensor]:
        """Split the matrix into its layers, each (T, C)."""
        parts = self.values.split(list(self.layers.values()), dim=1)
        return dict(zip(self.layers, parts, strict=True))

    def frame(self) -> pandas.DataFrame:
        """Return a pandas frame with a row for each task and a column for each (layer, channel)."""
        import pandas

        columns = [(layer, i) for layer, count in self.layers.items() for i in range(count)]
        names = ["layer", "channel"]
        return pandas.DataFrame(
            self.values.numpy(),
            index=pandas.Index(self.tasks, name="task"),
            columns=pandas.MultiIndex.from_tuples(columns, names=names),
        )


def importance(model: nn.Module) -> Importance:
    """Read the importance matrix from a network's TSσBN layers, or a single row from σBN layers.

    Raises:
        ValueError: If there are no σ layers, or a gate is NaN (a diverged run).

    Example:
        >>> import torch, tssbn
        >>> net = tssbn.task_specific(torch.nn.BatchNorm2d(4), ("seg", "depth"))
        >>> tssbn.gates.importance(net).values
        tensor([[0.5000, 0.5000, 0.5000, 0.5000],
                [0.5000, 0.5000, 0.5000, 0.5000]], dtype=torch.float64)
    """
    tasks, layers = sigma_layers(model)
    rows = {}
    for name, layer in layers.items():
        gamma = layer.gamma.detach().cpu().double().reshape(len(tasks), -1)
        if gamma.isnan().any():
            bad = [tasks[t] for t in gamma.isnan().any(dim=1).nonzero().flatten().tolist()]
            raise ValueError(f"layer {name!r} has gates that are not numbers, for tasks {bad}")
        rows[name] = torch.sigmoid(gamma)
    widths = {name: row.shape[1] for name, row in rows.items()}
    return Importance(torch.cat(list(rows.values()), dim=1), tasks, widths)


def sigma_layers(model: nn.Module) -> tuple[tuple[str, ...], dict[str, nn.Module]]:
    """Find the tasks of a network, and the σ layers whose gates are its importance matrix."""
    found = find_tasks(model)
    if len(found) > 1:
        raise ValueError(f"{type(model).__name__} holds {len(found)} converted trunks: pass one")
    kind = TaskSigmoidNorm if found else SigmoidNorm
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, kind)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no σ layers, so no importances")
    return (found[0].names if found else ("",)), layers


def as_matrix(matrix: Any) -> Tensor:
    """Convert to a finite (T, F) tensor in float64."""
    if isinstance(matrix, nn.Module):
        raise ValueError(f"pass importance(net), not the {type(matrix).__name__} itself")
    values = matrix.values if isinstance(matrix, Importance) else matrix
    values = torch.as_tensor(values, dtype=torch.float64, device="cpu").detach()
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"the importance matrix has shape {tuple(values.shape)}, not (T, F)")
    if not values.isfinite().all():
        raise ValueError("the importance matrix has entries that are not finite")
    return values
