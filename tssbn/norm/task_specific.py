"""Task-specific normalisation layers over a host layer of any class."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tssbn.norm.converted import STATISTICS, Converted, has_statistics, reset_statistics
from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskAffineNorm", "TaskSpecificNorm", "give_rows", "shares_statistics"]

IN_PLACE = ("torch.nn.modules.", "timm.layers.")  # forwards known to assign no attribute


class TaskSpecificNorm(Converted, TaskSpecific):
    """The base class of all task-specific normalisation layers, over any host layer.

    A subclass defines the parameters of each task. Each task has its own running statistics. Inputs
    have the host's shape, with B·t rows, image by image, in place of B. ``gamma`` and the running
    statistics are (T, C).

    Attributes:
        per_channel: Whether the host treats each channel by itself, however many there are.
    """

    per_task: ClassVar[tuple[str, ...]] = ("gamma", "beta", *STATISTICS)
    per_channel = False

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        """Return the initial γ, β and s of one task, from the host's weight and bias."""
        raise NotImplementedError

    def scales(self, gamma: Tensor) -> Tensor:
        """Compute the scales of the normalised channels, (t, C), from t rows of γ."""
        raise NotImplementedError

    def weight_and_bias(self, rows: slice) -> tuple[Tensor | None, Tensor | None]:
        """(t, C) each: what the host finds under these names when these tasks run."""
        weight = self.scales(self.gamma[rows])
        return weight, self._bias(None if self.beta is None else self.beta[rows], weight)

    @property
    def weight(self) -> Tensor:
        """(t·C,): the scale of the running tasks; no attribute outside a pass."""
        return self._of_host("weight")

    @property
    def bias(self) -> Tensor | None:
        """(t·C,): the bias of the running tasks, if there is one; no attribute outside a pass."""
        return self._of_host("bias")

    def __getattr__(self, name: str) -> Any:
        if name in ("weight", "bias"):  # a property that raised ends here
            raise AttributeError(
                f"{type(self).__name__} has a {name} only while a task runs: read or set gamma, "
                "(T, C). Loops over norm layers (initialisation, freezing, SyncBatchNorm) come "
                "before the conversion"
            )
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if (
            name in ("weight", "bias")
            and self.__dict__.get("_parameters", {}).get("gamma") is not None
        ):
            raise AttributeError(
                f"{type(self).__name__} computes its {name} from γ and β: set gamma or beta, (T, C)"
            )
        super().__setattr__(name, value)

    def _of_host(self, name: str) -> Tensor | None:
        for kind in self._parameters, self._buffers:
            if name in kind:
                return kind[name]
        if self.tasks.current is None:
            raise AttributeError(name)  # __getattr__ says why
        return self.host(self.tasks.now.rows)._parameters[name]

    def host(self, rows: slice, track: bool = True) -> nn.Module:
        """Return an ordinary layer of t·C channels that computes for these tasks side by side.

        Its statistics are views of this layer's, and are updated in place. Without `track` they
        are copies.
        """
        weight, bias = self.weight_and_bias(rows)
        state = {
            "weight": None if weight is None else weight.flatten(0, 1),
            "bias": None if bias is None else bias.flatten(0, 1),
        }
        buffers = dict(self._buffers)
        for name in STATISTICS:
            value = buffers.get(name)
            if value is not None and name in self.per_task:
                value = value[rows] if track else value[rows].clone()
                buffers[name] = value.view(-1)  # a view or an error, never a copy
        layer = object.__new__(self.host_type)
        layer.__dict__ = {
            **self.__dict__,
            "_parameters": {**self._parameters, **state},
            "_buffers": buffers,
        }
        return layer

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return the host's output for each running task; other inputs may be stacked, too."""
        now = self.tasks.now
        if now.count == 1:
            return self._call_host(now.rows, x, *args, **kwargs)
        if now.stem:
            x, args, kwargs = now.part((x, args, kwargs))
        rows, x = x.shape[0], self.unstack(x)  # (B, t, C, ...)
        # momentum=None averages over a count of batches, which may differ between tasks.
        if self.per_channel and self.momentum is not None and not args and not kwargs:
            y = self._call_host(now.rows, x.flatten(1, 2))
            return self.stack(y.unflatten(1, (now.count, -1)))
        each = []
        for i, one in enumerate(x.unbind(1)):
            more = tree_map(lambda v, i=i: self._of_task(v, rows, i), (args, kwargs))
            with now.only(i):  # the host may hold task-specific layers itself
                each.append(self._call_host(self.tasks.now.rows, one, *more[0], **more[1]))
        return self.stack(torch.stack(each, dim=1))

    def _of_task(self, value: Any, rows: int, i: int) -> Any:
        stacked = isinstance(value, Tensor) and value.ndim and value.shape[0] == rows
        return self.unstack(value)[:, i] if stacked else value

    def _call_host(self, rows: slice, *args: Any, **kwargs: Any) -> Tensor:
        track = not self.tasks.now.recomputing  # a part that runs again updates nothing
        host, call = self.host(rows, track), self.host_type.forward
        if not track or call.__module__.startswith(IN_PLACE):
            return call(host, *args, **kwargs)
        given = dict(host._buffers)
        y = call(host, *args, **kwargs)
        self._take_back(host, given, rows)
        return y

    def _take_back(self, host: nn.Module, given: dict[str, Tensor | None], rows: slice) -> None:
        """Keep what the host's forward assigned instead of changing it in place."""
        for name, value in host._buffers.items():
            if value is not given.get(name):
                if name in self.per_task and name in STATISTICS:
                    self._buffers[name][rows].view(-1).copy_(value)
                else:
                    self._buffers[name] = value
        for name, value in host.__dict__.items():
            if name not in ("_parameters", "_buffers") and self.__dict__.get(name) is not value:
                self.__dict__[name] = value

    def reset_parameters(self) -> None:
        """Start values of a fresh network, for every task."""
        self.reset_running_stats()
        if self._parameters.get("gamma") is not None:
            fresh = self.start(torch.ones_like(self.gamma[0]), None)
            with torch.no_grad():
                self.gamma.copy_(fresh["gamma"].expand_as(self.gamma))
                if self.beta is not None:
                    self.beta.zero_()
        for name, value in ("weight", 1.0), ("bias", 0.0):  # where the host keeps its own
            if self._parameters.get(name) is not None:
                nn.init.constant_(self._parameters[name], value)

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
