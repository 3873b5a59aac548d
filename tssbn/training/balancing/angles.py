"""The angles between the tasks' gradients, measured while a network trains."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tssbn.gradients import cosines
from tssbn.training.balancing.base import Balancing
from tssbn.training.balancing.observer import Observer
from tssbn.training.processes import differentiate

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Angles"]

DIGITS = 4  # of a cosine


class Angles(Observer):
    """A measurement of the cosines between the tasks' gradients in some steps of a run.

    The gradients are those of the shared filters: the weights of convolutions and linear layers
    that every task's loss depends on. In a measured step each loss is differentiated separately, on
    the graph of the step and over its whole batch, which costs a further backward pass for each
    task. Weights of the losses change no cosine, and the step itself stays the same.

    This is figure 2, left, of Suteu and Serban (arXiv 2512.20420), which does not describe how the
    cosines were pooled.

    Args:
        net: the network.
        every: number of steps from one measurement to the next; the first step is measured.
        balancing: computes the gradients of the step; the plain sum by default.

    Attributes:
        measured: ``"steps"``, the numbers of the measured steps, counted from 1 over all epochs;
            ``"pairs"``, the pairs of tasks; ``"all"``, for each step the cosine of each pair over
            all shared filters; ``"layers"``, the same by layer. The cosine of a zero gradient is
            NaN. Empty where the tasks share no filter, as in networks of single tasks.
        steps: number of steps so far.

    Raises:
        ValueError: `every` is less than 1.

    Example:
        >>> from lightning_fabric import Fabric
        >>> trunk, heads = nn.Linear(2, 2), {"a": nn.Linear(2, 1), "b": nn.Linear(2, 1)}
        >>> heads["b"].load_state_dict(heads["a"].state_dict())
        <All keys matched successfully>
        >>> angles = Angles(nn.ModuleList([trunk, *heads.values()]), every=1)
        >>> features = trunk(torch.ones(1, 2))
        >>> losses = {task: head(features).sum() for task, head in heads.items()}
        >>> angles.see(losses, Fabric(accelerator="cpu", devices=1))
        >>> angles.step()
        >>> angles.measured["pairs"], angles.measured["all"]
        ([['a', 'b']], [[1.0]])
    """

    def __init__(self, net: nn.Module, every: int, balancing: Balancing | None = None) -> None:
        super().__init__(balancing)
        if every < 1:
            raise ValueError(f"every={every} must be at least 1")
        self.every, self.measured, self.steps = every, {}, 0
        self.filters = {
            name: module.weight
            for name, module in net.named_modules()
            if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear))
            and module.weight.requires_grad
        }
        self.rows: dict[str, list[Tensor | None]] = {}

    def see(self, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Differentiate the losses of some of the tasks, if this step is measured."""
        if self.steps % self.every == 0:
            filters = list(self.filters.values())
            for task, loss in losses.items():
                self.rows[task] = differentiate(fabric, loss, filters)

    def step(self) -> None:
        """Compute the cosines of the step, after the losses of all tasks."""
        self.steps += 1
        rows, self.rows = self.rows, {}
        if len(rows) < 2:  # not measured, or nothing to compare
            return
        columns = zip(self.filters, zip(*rows.values(), strict=True), strict=True)
        shared = {
            name: torch.stack([gradient.flatten() for gradient in column])
            for name, column in columns
            if not any(gradient is None for gradient in column)
        }
        if not shared:
            return
        pairs = list(combinations(range(len(rows)), 2))
        tasks = list(rows)
        if not self.measured:
            self.measured: dict[str, Any] = {
                "steps": [],
                "pairs": [[tasks[i], tasks[j]] for i, j in pairs],
                "all": [],
                "layers": {name: [] for name in shared},
            }

        def of_pairs(gradients: Tensor) -> list[float]:
            matrix = cosines(gradients)
            zero = (gradients == 0).all(dim=1)  # no direction, so no angle
            matrix[zero[:, None] | zero] = torch.nan
            return [round(matrix[i, j].item(), DIGITS) for i, j in pairs]

        self.measured["steps"].append(self.steps)
        self.measured["all"].append(of_pairs(torch.cat(list(shared.values()), dim=1)))
        for name, gradients in shared.items():
            self.measured["layers"][name].append(of_pairs(gradients))
