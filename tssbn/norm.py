"""σBN and TSσBN: normalisation layers whose only scale is a bounded gate.

The layers here are mixins over PyTorch's own. A mixin turns ``weight`` and ``bias`` into properties
and leaves the host's ``forward`` alone, so that BatchNorm, LayerNorm, RMSNorm and layers that fuse
a norm with something else all work the same way. A task-specific layer adds one thing: rows are
stacked image by image, so a contiguous (B·T, C, ...) tensor *is* (B, T·C, ...), and a single
batch_norm call over T·C channels normalises, gates and tracks every task.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tssbn.selection import TaskSelection

__all__ = [
    "SharedStatisticsNorm",
    "SigmoidBatchNorm1d",
    "SigmoidBatchNorm2d",
    "SigmoidBatchNorm3d",
    "SigmoidGroupNorm",
    "SigmoidInstanceNorm1d",
    "SigmoidInstanceNorm2d",
    "SigmoidInstanceNorm3d",
    "SigmoidLayerNorm",
    "SigmoidNorm",
    "SigmoidRMSNorm",
    "TaskAffineNorm",
    "TaskSigmoidNorm",
    "TaskSpecificNorm",
    "TaskStatisticsNorm",
]


class _Converted:
    """A host layer whose affine part was replaced."""

    gamma: Tensor
    beta: Tensor | None  # what an affine mode keeps of the host's bias
    scale: Tensor | None  # what an affine mode keeps of the host's weight, never trained

    def _load_from_state_dict(self, state: dict, prefix: str, *args) -> None:
        # The checkpoint of a pretrained network also holds what its affine mode kept.
        if self.scale is None and prefix + "scale" in state:
            self.scale = torch.empty_like(state[prefix + "scale"], device=self.gamma.device)
        if self.beta is None and prefix + "beta" in state:
            self.beta = nn.Parameter(torch.empty_like(self.gamma))
        super()._load_from_state_dict(state, prefix, *args)


class SigmoidNorm(_Converted):
    """A normalisation layer gated by the logistic function: ``y = σ(γ)·x̂``.

    x̂ is what the host layer normalises to. The gate σ(γ) lies in (0, 1), one for each channel, and
    there is no bias. Every gate starts half open, γ = 0. (Suteu & Serban, arXiv 2512.20420, eq. 2;
    introduced for pruning in arXiv 2204.06404.)

    Shape: as the host's. ``gamma`` has the shape of the host's ``weight``, which is now computed
    each time it is read: set ``gamma``, setting ``weight`` has no effect.
    """

    def __init__(self, *args, **kwargs):
        affine = "affine"
        if isinstance(self, (nn.LayerNorm, nn.RMSNorm)):
            affine = "elementwise_affine"
        if not kwargs.get(affine, True):
            raise ValueError(f"{affine}=False leaves a σ layer without its gate")
        super().__init__(*args, **{**kwargs, affine: True})
        weight = self._parameters.pop("weight")
        self._parameters.pop("bias", None)
        self.gamma = nn.Parameter(torch.zeros_like(weight))
        self.register_parameter("beta", None)
        self.register_buffer("scale", None)

    @property
    def weight(self) -> Tensor:
        gate = torch.sigmoid(self.gamma)
        return gate if self.scale is None else self.scale * gate

    @property
    def bias(self) -> Tensor | None:
        return self.beta

    def reset_parameters(self) -> None:
        """Half-open gates and, where there are any, fresh statistics."""
        if "gamma" not in self._parameters:  # called by the host's own __init__
            super().reset_parameters()
        else:
            _start_over(self, gamma=0.0)


class SigmoidBatchNorm1d(SigmoidNorm, nn.BatchNorm1d):
    """σBN over (N, C) or (N, C, L); the arguments are those of `torch.nn.BatchNorm1d`.

    Example:
        >>> import torch, tssbn
        >>> tssbn.SigmoidBatchNorm1d(3)(torch.rand(8, 3)).std(0, unbiased=False).round(decimals=2)
        tensor([0.5000, 0.5000, 0.5000], grad_fn=<RoundBackward1>)
    """


class SigmoidBatchNorm2d(SigmoidNorm, nn.BatchNorm2d):
    """σBN over (N, C, H, W); the arguments are those of `torch.nn.BatchNorm2d`."""


class SigmoidBatchNorm3d(SigmoidNorm, nn.BatchNorm3d):
    """σBN over (N, C, D, H, W); the arguments are those of `torch.nn.BatchNorm3d`."""


class SigmoidLayerNorm(SigmoidNorm, nn.LayerNorm):
    """σLN: layer normalisation with a gate; the arguments are those of `torch.nn.LayerNorm`."""


class SigmoidRMSNorm(SigmoidNorm, nn.RMSNorm):
    """Root-mean-square normalisation with a gate; the arguments are those of `torch.nn.RMSNorm`."""


class SigmoidGroupNorm(SigmoidNorm, nn.GroupNorm):
    """Group normalisation with a gate; the arguments are those of `torch.nn.GroupNorm`."""


class SigmoidInstanceNorm1d(SigmoidNorm, nn.InstanceNorm1d):
    """Instance normalisation with a gate over (N, C, L); arguments as `torch.nn.InstanceNorm1d`."""


class SigmoidInstanceNorm2d(SigmoidNorm, nn.InstanceNorm2d):
    """Instance normalisation with a gate over (N, C, H, W); as `torch.nn.InstanceNorm2d`."""


class SigmoidInstanceNorm3d(SigmoidNorm, nn.InstanceNorm3d):
    """Instance normalisation with a gate over (N, C, D, H, W); as `torch.nn.InstanceNorm3d`."""


class TaskSpecificNorm(_Converted):
    """A normalisation layer of which each of T tasks owns a part.

    Made by `tssbn.task_specific`, not by hand. Which part it is, the subclass says. Inputs have the
    host's shape with B·T rows, image by image, where the host takes B; ``gamma`` is (T, C).
    """

    selection: TaskSelection
    can_wait = False
    _owned = ("gamma", "beta", "running_mean", "running_var", "num_batches_tracked")

    def add_row(self, like: int | None) -> None:
        """Make room for one more task, like the task of that row or, if None, like none of them."""
        for name in self._owned:
            kind = self._parameters if name in self._parameters else self._buffers
            value = kind.get(name)
            if value is None:
                continue
            if like is not None:
                row = value[like]
            elif name == "gamma" and isinstance(self, TaskSigmoidNorm):
                row = torch.zeros_like(value[0])
            else:
                row = value.double().mean(0)
            grown = torch.cat([value.detach(), row.detach().to(value.dtype)[None]])
            if isinstance(value, nn.Parameter):
                grown = nn.Parameter(grown, requires_grad=value.requires_grad)
            kind[name] = grown

    def reset_parameters(self) -> None:
        """Start values of a fresh network, for every task."""
        _start_over(self, gamma=0.0 if isinstance(self, TaskSigmoidNorm) else 1.0)

    def reset_running_stats(self) -> None:
        """Fresh statistics, for every task."""
        _forget(self)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, tasks={list(self.selection.names)}"


class _OwnStatistics(TaskSpecificNorm):
    """Rows are normalised with the statistics of their own task, all tasks in one call."""

    channels_apart: bool  # the host treats each channel by itself, however many there are

    def forward(self, x: Tensor) -> Tensor:
        tasks = self.selection.tasks
        if len(tasks) == 1:
            return super().forward(x)
        images, count, parts = self.selection.shape(x.shape[0])
        x = x.unflatten(0, (images, count, parts)).transpose(1, 2)  # (B, k, T, C, ...)
        # momentum=None averages over a count of batches, which may differ between tasks.
        one_call = self.channels_apart and self.momentum is not None
        if one_call and self.selection.neighbours:
            y = super().forward(x.flatten(2, 3).flatten(0, 1))  # (B·k, T·C, ...), a view if k = 1
            y = y.unflatten(1, (count, -1)).unflatten(0, (images, parts))
        else:
            each = []
            for task, rows in zip(tasks, x.unbind(2), strict=True):
                with self.selection.running((task,)):
                    each.append(super().forward(rows.flatten(0, 1)))
            y = torch.stack(each, dim=1).unflatten(0, (images, parts))
        return y.transpose(1, 2).flatten(0, 2)

    def _now(self, rows: Tensor | None) -> Tensor | None:
        """(T, C) -> (t·C,): the rows of the t tasks that run now, end to end; a view."""
        return None if rows is None else rows[self.selection.rows].flatten(0, 1)

    def _tracked(self, name: str) -> Tensor | None:
        """The rows of a statistic of the tasks that run now, to be updated in place."""
        statistic = self._buffers[name]
        if statistic is None:
            return None
        rows = statistic[self.selection.rows]
        return rows.clone() if self.selection.again else rows  # once is enough

    @property
    def running_mean(self) -> Tensor | None:
        mean = self._tracked("running_mean")
        return None if mean is None else mean.flatten(0, 1)

    @property
    def running_var(self) -> Tensor | None:
        var = self._tracked("running_var")
        return None if var is None else var.flatten(0, 1)

    @property
    def num_batches_tracked(self) -> Tensor | None:
        return self._tracked("num_batches_tracked")


class TaskSigmoidNorm(_OwnStatistics):
    """TSσBN and its relatives: ``y = σ(γ_t)·x̂_t`` (arXiv 2512.20420, eq. 3)."""

    def forward(self, x: Tensor) -> Tensor:
        now = self.selection
        if now.waiting is not self or now.images != 0 or len(now.tasks) == 1:
            return super().forward(x)
        # The tasks have not parted yet: they see the same x, so that x̂ is the same for all.
        batch_statistics = self.training or self._buffers["running_mean"] is None
        if batch_statistics and now.neighbours:
            return self._normalised(x)
        return super().forward(now.repeat(x))

    @property
    def gates(self) -> Tensor:
        """(t, C): the gates of the tasks that run now."""
        return torch.sigmoid(self.gamma[self.selection.rows])

    @property
    def can_wait(self) -> bool:
        """Whether this is the paper's layer and no more, so that its gates may act later."""
        plain = type(self).__bases__[1] in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
        return plain and self.scale is self.beta is None and self.momentum is not None

    def _normalised(self, x: Tensor) -> Tensor:
        """x̂ of images that all tasks see alike: computed once, and tracked by each of them."""
        mean, var = self._tracked("running_mean"), self._tracked("running_var")
        if mean is None:
            return F.batch_norm(x, None, None, training=True, eps=self.eps)
        of_batch = torch.zeros_like(mean[0]), torch.zeros_like(var[0])
        y = F.batch_norm(x, *of_batch, training=True, momentum=1.0, eps=self.eps)
        mean.lerp_(of_batch[0], self.momentum)
        var.lerp_(of_batch[1], self.momentum)
        self._tracked("num_batches_tracked").add_(1)
        return y

    @property
    def weight(self) -> Tensor:
        return (self.gates if self.scale is None else self.scale * self.gates).flatten(0, 1)

    @property
    def bias(self) -> Tensor | None:
        return self._now(self.beta)


class TaskAffineNorm(_OwnStatistics):
    """TSBN: an ordinary affine layer for each task, ``y = γ_t·x̂_t + β_t``."""

    @property
    def weight(self) -> Tensor:
        return self._now(self.gamma)

    @property
    def bias(self) -> Tensor | None:
        return self._now(self.beta)


class TaskStatisticsNorm(_OwnStatistics):
    """Statistics for each task, scale and bias shared: ``y = γ·x̂_t + β``.

    An ablation: what do statistics alone buy? ``weight`` and ``bias`` stay the host's.
    """

    @property
    def weight(self) -> Tensor | None:
        return self._for_all(self._parameters["weight"])

    @property
    def bias(self) -> Tensor | None:
        return self._for_all(self._parameters["bias"])

    def _for_all(self, shared: Tensor | None) -> Tensor | None:
        return None if shared is None else shared.repeat(len(self.selection.tasks))


class SharedStatisticsNorm(TaskSpecificNorm):
    """Scale and bias for each task, statistics shared by all: ``y = γ_t·x̂ + β_t``.

    In training x̂ comes from the statistics of all rows of the pass, whatever their task; there is
    one running mean and one variance. The other half of the ablation.
    """

    _owned = ("gamma", "beta")

    @property
    def weight(self) -> None:
        """None, so that the host only normalises; an error outside a pass, as in every layer."""
        _ = self.selection.tasks

    @property
    def bias(self) -> None:
        return None

    def forward(self, x: Tensor) -> Tensor:
        normalised = super().forward(x)
        task = self.selection.task_of_rows(x)
        shape = (-1, x.shape[1], *[1] * (x.ndim - 2))
        gamma, beta = (v[task].reshape(shape).to(x.dtype) for v in (self.gamma, self.beta))
        return normalised * gamma + beta


def shares_statistics(module: nn.Module) -> bool:
    """Whether a module normalises by statistics of a batch that are not a task's own."""
    if "running_mean" in getattr(module, "_owned", ()):
        return False
    return isinstance(module, _BatchNorm) or module._buffers.get("running_mean") is not None


def converted_class(mixin: type, host: type) -> type:
    """The class of a `host` layer with `mixin`: the named one above, or one made now."""
    for known in mixin.__subclasses__():
        if known.__bases__ == (mixin, host):
            return known
    name = mixin.__name__.removesuffix("Norm") + host.__name__
    body = {"__doc__": mixin.__doc__, "__module__": __name__, "__reduce_ex__": _reduce}
    return type(name, (mixin, host), body)


def _reduce(layer: nn.Module, protocol: int) -> tuple:
    """Copy and pickle a layer of a class made at run time by the names of its two parents."""
    return _blank, type(layer).__bases__, layer.__dict__


def _blank(mixin: type, host: type) -> nn.Module:
    cls = converted_class(mixin, host)
    return cls.__new__(cls)


def _forget(layer: nn.Module) -> None:
    """Fresh running statistics, where there are any."""
    for name, value in ("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0):
        if layer._buffers.get(name) is not None:
            layer._buffers[name].fill_(value)


def _start_over(layer: nn.Module, gamma: float) -> None:
    """Fresh statistics and affine part; the frozen scale of an affine mode stays."""
    _forget(layer)
    for name, value in ("gamma", gamma), ("beta", 0.0), ("weight", 1.0), ("bias", 0.0):
        if layer._parameters.get(name) is not None:
            nn.init.constant_(layer._parameters[name], value)
