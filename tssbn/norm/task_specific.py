"""Norm layers of which each task owns a part, over a host of any class."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tssbn.norm.converted import Converted, has_statistics, reset_statistics
from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskAffineNorm", "TaskSpecificNorm", "give_rows", "shares_statistics"]

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class TaskSpecificNorm(Converted, TaskSpecific):
    """A normalisation layer of which each of T tasks owns a part; which, the subclass says.

    The base of all of them, over any host. Each task keeps statistics of its own. Inputs have the
    host's shape with B·t rows, image by image, where the host takes B; ``gamma`` is (T, C), and so
    are the running statistics.

    Attributes:
        per_channel: Whether the host treats each channel by itself, however many there are.
    """

    per_task: ClassVar[tuple[str, ...]] = ("gamma", "beta", *STATISTICS)
    per_channel = False

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        """What one task's γ, β and s begin with, from the weight and bias that the host had."""
        raise NotImplementedError

    def scales(self, gamma: Tensor) -> Tensor:
        """(t, C): what the normalised channels are multiplied with, from so many rows of γ."""
        raise NotImplementedError

    def weight_and_bias(self, rows: slice) -> tuple[Tensor | None, Tensor | None]:
        """(t, C) each: what the host finds under these names when these tasks run."""
        weight = self.scales(self.gamma[rows])
        return weight, self._bias(None if self.beta is None else self.beta[rows], weight)

    def host(self, rows: slice, track: bool = True) -> nn.Module:
        """The ordinary layer of these tasks, end to end, t·C channels.

        It shares all state, so that statistics are updated here; not so, unless told to `track`.
        """
        weight, bias = self.weight_and_bias(rows)
        state = {"weight": weight, "bias": bias}
        for name in STATISTICS:
            value = self._buffers.get(name)
            if value is not None and name in self.per_task:
                value = value[rows] if track else value[rows].clone()
            state[name] = value
        flat = {k: v if v is None or v.ndim < 2 else v.flatten(0, 1) for k, v in state.items()}
        layer = object.__new__(self.host_type)
        layer.__dict__ = {**self.__dict__}
        layer._parameters = {**self._parameters, "weight": flat["weight"], "bias": flat["bias"]}
        layer._buffers = {
            **self._buffers,
            **{name: flat[name] for name in STATISTICS if name in self._buffers},
        }
        return layer

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The host's output for each running task; further tensors may have rows, too."""
        now, call = self.tasks.now, self.host_type.forward
        track = not now.recomputing  # of a part that runs again for its backward pass
        if now.count == 1:
            return call(self.host(now.rows, track), x, *args, **kwargs)
        if now.in_stem:
            x, args, kwargs = now.part((x, args, kwargs))
        rows, x = len(x), self.unstack(x)  # (B, t, C, ...)
        # momentum=None averages over a count of batches, which may differ between tasks.
        if self.per_channel and self.momentum is not None and not args and not kwargs:
            y = call(self.host(now.rows, track), x.flatten(1, 2))
            return self.stack(y.unflatten(1, (now.count, -1)))
        each = []
        for i, one in enumerate(x.unbind(1)):
            more = tree_map(lambda v, i=i: self._of_task(v, rows, i), (args, kwargs))
            task = slice(now.rows.start + i, now.rows.start + i + 1)
            each.append(call(self.host(task, track), one, *more[0], **more[1]))
        return self.stack(torch.stack(each, dim=1))

    def _of_task(self, value: Any, rows: int, i: int) -> Any:
        stacked = isinstance(value, Tensor) and value.ndim and len(value) == rows
        return self.unstack(value)[:, i] if stacked else value

    def reset_parameters(self) -> None:
        """Start values of a fresh network, for every task."""
        self.reset_running_stats()
        if self._parameters.get("gamma") is not None:
            fresh = self.start(torch.ones_like(self.gamma[0]), None)
            with torch.no_grad():
                self.gamma.copy_(fresh["gamma"].expand_as(self.gamma))
                if self.beta is not None:
                    self.beta.zero_()

    def reset_running_stats(self) -> None:
        """Fresh statistics, for every task."""
        reset_statistics(self)

    def extra_repr(self) -> str:
        of_host = self.host_type.extra_repr(self.host(slice(0, 1)))
        return f"{of_host}, tasks={list(self.tasks.names)}"

    def _shape_of_one(self) -> torch.Size:
        return self.gamma.shape[1:]


class TaskAffineNorm(TaskSpecificNorm):
    """TSBN: an ordinary affine layer for each task, ``y = γ_t·x̂_t + β_t``."""

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        return {"gamma": weight, "beta": torch.zeros_like(weight) if bias is None else bias}

    def scales(self, gamma: Tensor) -> Tensor:
        return gamma


def give_rows(
    layer: TaskSpecificNorm,
    tasks: Tasks,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    scale: Tensor | None = None,
) -> None:
    """Give a layer the state of T tasks, each beginning with this γ and β and its statistics."""

    def rows(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.expand(len(tasks.names), *value.shape).clone()

    layer.tasks = tasks
    layer.replace_affine(rows(gamma), rows(beta), scale)
    for name in STATISTICS:
        if name in layer.per_task and layer._buffers.get(name) is not None:
            layer._buffers[name] = rows(layer._buffers[name])


def shares_statistics(module: nn.Module) -> bool:
    """Whether a module normalises by statistics of a batch that are not a task's own."""
    return has_statistics(module) and "running_mean" not in getattr(module, "per_task", ())
