"""σBN and TSσBN: normalisation layers whose only scale is a bounded gate.

The paper's layers have classes of their own: `SigmoidBatchNorm2d` (eq. 2) and
`TaskSigmoidBatchNorm2d` (eq. 3), for one to three dimensions, and their LayerNorm forms. All other
norm layers, of PyTorch and of other libraries, are gated by a mixin: it leaves the layer's own
``forward`` alone and changes what this finds as ``weight`` and ``bias``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.utils._pytree import tree_map

from tssbn.tasks import Tasks, TaskSpecific

__all__ = [
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
    "TaskSigmoidBatchNorm1d",
    "TaskSigmoidBatchNorm2d",
    "TaskSigmoidBatchNorm3d",
    "TaskSigmoidLayerNorm",
    "TaskSigmoidNorm",
    "TaskSpecificNorm",
]

# Layers of PyTorch and their subclasses, fused ones too, work without a bias.
TORCH_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class _Converted(nn.Module):
    """A norm layer, the host, whose affine part was replaced.

    Attributes:
        gamma: What the scale is computed from.
        beta: What an affine mode keeps of the host's bias.
        scale: What an affine mode keeps of the host's weight, never trained.
    """

    gamma: Tensor | None
    beta: Tensor | None
    scale: Tensor | None
    host_type: ClassVar[type[nn.Module]]  # the class that the layer would have without the mixin

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if len(cls.__bases__) == 2:  # a mixin and its host
            cls.host_type = cls.__bases__[1]

    def replace_affine(
        self, gamma: Tensor | None, beta: Tensor | None = None, scale: Tensor | None = None
    ) -> None:
        """Put γ, β and s in the place of the host's weight and bias; frozen ones stay frozen.

        Without γ the host keeps its own.
        """
        weight, bias = (self._parameters.get(name) for name in ("weight", "bias"))
        if gamma is not None:
            for name in "weight", "bias":
                self._parameters.pop(name, None)
                self._buffers.pop(name, None)
            # What was a buffer, or not there, is free to learn.
            gamma = nn.Parameter(gamma, requires_grad=weight is None or weight.requires_grad)
            if beta is not None:
                beta = nn.Parameter(beta, requires_grad=bias is None or bias.requires_grad)
        self.register_parameter("gamma", gamma)
        self.register_parameter("beta", beta)
        self.register_buffer("scale", scale)
        for flag in "affine", "elementwise_affine":
            if hasattr(self, flag):
                setattr(self, flag, True)

    def _bias(self, beta: Tensor | None, like: Tensor) -> Tensor | None:
        """β, or 0 for a host of another library, whose forward may add it without asking."""
        if beta is None and not isinstance(self, TORCH_NORMS):
            return torch.zeros_like(like)
        return beta

    def _load_from_state_dict(self, state: dict, prefix: str, *args: Any) -> None:
        """Take what an affine mode kept from the checkpoint of a pretrained network, too."""
        scale, beta = state.get(prefix + "scale"), state.get(prefix + "beta")
        if self.scale is None and scale is not None:
            if scale.shape != self._shape_of_one():
                args[-1].append(
                    f"{prefix}scale has shape {tuple(scale.shape)}, but a gate row of this layer "
                    f"has {tuple(self._shape_of_one())}"
                )
                return
            self.scale = torch.empty_like(scale, device=self.gamma.device)
        if self.beta is None and beta is not None:
            self.beta = nn.Parameter(torch.empty_like(self.gamma))
        super()._load_from_state_dict(state, prefix, *args)

    def _shape_of_one(self) -> torch.Size:
        return self.gamma.shape


class SigmoidNorm(_Converted):
    """A normalisation layer gated by the logistic function: ``y = σ(γ)·x̂``.

    x̂ is what the host layer normalises to. The gate σ(γ) lies in (0, 1), one for each channel, and
    there is no bias. Every gate starts half open, γ = 0. (Suteu & Serban, arXiv 2512.20420, eq. 2;
    introduced for pruning in arXiv 2204.06404.)

    Shape: as the host's. ``gamma`` has the shape of the host's ``weight``, which is now computed
    each time it is read: set ``gamma``, setting ``weight`` has no effect.
    """

    named: ClassVar[dict[type, type]] = {}

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        """What γ begins with, whatever the weight and bias were."""
        return {"gamma": torch.zeros_like(weight)}

    def __init__(self, *args, **kwargs):
        affine = "affine"
        if isinstance(self, (nn.LayerNorm, nn.RMSNorm)):
            affine = "elementwise_affine"
        if not kwargs.get(affine, True):
            raise ValueError(f"{affine}=False leaves a σ layer without its gate")
        super().__init__(*args, **{**kwargs, affine: True})
        self.replace_affine(torch.zeros_like(self._parameters["weight"]))

    @property
    def weight(self) -> Tensor:
        gate = torch.sigmoid(self.gamma)
        return gate if self.scale is None else self.scale * gate

    @property
    def bias(self) -> Tensor | None:
        return self._bias(self.beta, self.gamma)

    def reset_parameters(self) -> None:
        """Half-open gates and, where there are any, fresh statistics."""
        if "gamma" not in self._parameters:  # called by the host's own __init__
            return super().reset_parameters()
        _forget(self)
        for value in (self.gamma, self.beta):
            if value is not None:
                nn.init.zeros_(value)


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


class TaskSpecificNorm(_Converted, TaskSpecific):
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
        _forget(self)

    def extra_repr(self) -> str:
        of_host = self.host_type.extra_repr(self.host(slice(0, 1)))
        return f"{of_host}, tasks={list(self.tasks.names)}"

    def _shape_of_one(self) -> torch.Size:
        return self.gamma.shape[1:]


class TaskSigmoidNorm(TaskSpecificNorm):
    """TSσBN and its relatives: ``y = σ(γ_t)·x̂_t`` (arXiv 2512.20420, eq. 3), over any host.

    Made by `tssbn.task_specific`. An affine mode may keep more: ``y = s·σ(γ_t)·x̂_t + β_t``.
    """

    named: ClassVar[dict[type, type]] = {}

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        return {"gamma": torch.zeros_like(weight)}

    def scales(self, gamma: Tensor) -> Tensor:
        gates = gamma.sigmoid()
        return gates if self.scale is None else self.scale * gates

    def new_row(self, name: str, value: Tensor) -> Tensor:
        """A new task begins with its gates half open, whatever those of the others are."""
        return torch.zeros_like(value[0]) if name == "gamma" else super().new_row(name, value)

    @property
    def is_plain(self) -> bool:
        """Whether this is the paper's layer and no more: no affine mode kept s or β."""
        return self.scale is None and self.beta is None


class TaskSigmoidBatchNorm(TaskSigmoidNorm):
    """TSσBN for PyTorch's BatchNorm: each task gates x̂, normalised by statistics of its own.

    Use `TaskSigmoidBatchNorm1d`, `2d` or `3d`. The arguments are those of `torch.nn.BatchNorm2d`,
    with `tasks` in the place of ``affine``. (Suteu & Serban, arXiv 2512.20420, eq. 3.)

    Args:
        num_features: C.
        tasks: The network's tasks, one object for all of its layers.

    Shape: (B·t, C, ...) -> the same, where t tasks run; ``gamma`` is (T, C), and every gate starts
    half open.
    """

    per_channel = True

    def __init__(
        self,
        num_features: int,
        tasks: Tasks,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        if not isinstance(tasks, Tasks):
            raise TypeError(f"tasks={tasks!r} must be a tssbn.Tasks, which all layers share")
        super().__init__(
            num_features, eps, momentum, True, track_running_stats, device=device, dtype=dtype
        )
        give_rows(self, tasks, **self.start(self.weight.detach(), None))

    def forward(self, x: Tensor) -> Tensor:
        """σ(γ_t)·x̂_t of all running tasks: one BatchNorm of t·C channels (eq. 3)."""
        if self.tasks.now.in_stem and self.can_defer:
            return self.normalise(x)
        if not self.is_plain or self.momentum is None:
            return super().forward(x)
        self._check_input_dim(x)
        gates = self.rows(self.gamma).sigmoid()  # (t, C)
        mean, var, training = self.statistics()  # (t·C,)
        x = self.unstack(x).flatten(1, 2)  # (B, t·C, ...)
        y = F.batch_norm(x, mean, var, gates.flatten(), None, training, self.momentum, self.eps)
        return self.stack(y.unflatten(1, gates.shape))  # (B·t, C, ...)

    def statistics(self) -> tuple[Tensor | None, Tensor | None, bool]:
        """Running mean and variance, to be updated in place, and whether those of the batch count.

        As `torch.nn.BatchNorm2d` has it; a part that runs again for its backward pass updates
        copies, for once is enough.
        """
        if self.running_mean is None or (self.training and not self.track_running_stats):
            return None, None, True
        mean, var = self.rows(self.running_mean).flatten(), self.rows(self.running_var).flatten()
        if self.tasks.now.recomputing:
            return mean.clone(), var.clone(), self.training
        if self.training:
            self.rows(self.num_batches_tracked).add_(1)
        return mean, var, self.training

    @property
    def can_defer(self) -> bool:
        """Whether x̂ is the same for all tasks before they part, so that gates may act later."""
        return self.is_plain and (self.training or self.running_mean is None)

    def normalise(self, x: Tensor) -> Tensor:
        """x̂ of images that all running tasks see alike: computed once, tracked by each of them.

        A gate, a positive factor, commutes with ReLU and pooling: it acts where the tasks part.
        """
        now = self.tasks.now
        if now.gates is not None:
            return self.unstack(x)  # raises: the tasks had to part before
        self._check_input_dim(x)
        now.gates = self.rows(self.gamma).sigmoid()
        if self.running_mean is None or not self.track_running_stats:
            return F.batch_norm(x, None, None, training=True, eps=self.eps)
        mean, var = torch.zeros_like(self.running_mean[0]), torch.zeros_like(self.running_var[0])
        y = F.batch_norm(x, mean, var, None, None, True, 1.0, self.eps)
        if not now.recomputing and x.numel():
            count = self.rows(self.num_batches_tracked).add_(1)
            momentum = self.momentum
            if momentum is None:  # the mean over all batches
                momentum = 1 / count[:, None].to(mean.dtype)
            self.rows(self.running_mean).lerp_(mean, momentum)
            self.rows(self.running_var).lerp_(var, momentum)
        return y


class TaskSigmoidBatchNorm1d(TaskSigmoidBatchNorm, nn.BatchNorm1d):
    """TSσBN over (B·t, C) or (B·t, C, L); see `TaskSigmoidBatchNorm` for the arguments.

    Example:
        >>> import torch, tssbn
        >>> layer = tssbn.TaskSigmoidBatchNorm1d(3, tssbn.Tasks(("seg", "depth")))
        >>> with tssbn.select(layer, "depth"):
        ...     layer(torch.rand(8, 3)).std(0, unbiased=False).round(decimals=2).tolist()
        [0.5, 0.5, 0.5]
    """


class TaskSigmoidBatchNorm2d(TaskSigmoidBatchNorm, nn.BatchNorm2d):
    """TSσBN over (B·t, C, H, W); see `TaskSigmoidBatchNorm` for the arguments."""


class TaskSigmoidBatchNorm3d(TaskSigmoidBatchNorm, nn.BatchNorm3d):
    """TSσBN over (B·t, C, D, H, W); see `TaskSigmoidBatchNorm` for the arguments."""


class TaskSigmoidLayerNorm(TaskSigmoidNorm, nn.LayerNorm):
    """TSσLN: layer normalisation with a gate for each task and channel, ``y = σ(γ_t)·x̂``.

    The arguments are those of `torch.nn.LayerNorm`, with `tasks` in the place of
    ``elementwise_affine``. (Suteu & Serban, arXiv 2512.20420, eq. 3 on a transformer.)

    Args:
        normalized_shape: Of the last dimensions.
        tasks: The network's tasks, one object for all of its layers.

    Shape: (B·t, ..., C) -> the same, where t tasks run; ``gamma`` is (T, C).

    Example:
        >>> import torch, tssbn
        >>> layer = tssbn.TaskSigmoidLayerNorm(3, tssbn.Tasks(("seg", "depth")))
        >>> with tssbn.select(layer, "seg"):
        ...     layer(torch.tensor([[-1.0, 0.0, 1.0]])).round(decimals=4)
        tensor([[-0.6124,  0.0000,  0.6124]], grad_fn=<RoundBackward1>)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        tasks: Tasks,
        eps: float = 1e-5,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        if not isinstance(tasks, Tasks):
            raise TypeError(f"tasks={tasks!r} must be a tssbn.Tasks, which all layers share")
        super().__init__(normalized_shape, eps, device=device, dtype=dtype)
        give_rows(self, tasks, **self.start(self.weight.detach(), None))

    def forward(self, x: Tensor) -> Tensor:
        """σ(γ_t)·x̂ of all running tasks (eq. 3); x̂ needs no statistics of a batch."""
        if not self.is_plain:
            return super().forward(x)
        gates = self.rows(self.gamma).sigmoid()  # (t, C)
        of_tasks = self.unstack(x).unbind(1)  # t times (B, ..., C)
        y = [
            F.layer_norm(one, self.normalized_shape, gate, None, self.eps)
            for one, gate in zip(of_tasks, gates, strict=True)
        ]
        return self.stack(torch.stack(y, dim=1))  # (B·t, ..., C)


class TaskAffineNorm(TaskSpecificNorm):
    """TSBN: an ordinary affine layer for each task, ``y = γ_t·x̂_t + β_t``."""

    @classmethod
    def start(cls, weight: Tensor, bias: Tensor | None) -> dict[str, Tensor | None]:
        return {"gamma": weight, "beta": torch.zeros_like(weight) if bias is None else bias}

    def scales(self, gamma: Tensor) -> Tensor:
        return gamma


SigmoidNorm.named = {
    kind.host_type: kind
    for kind in (
        *(SigmoidBatchNorm1d, SigmoidBatchNorm2d, SigmoidBatchNorm3d),
        *(SigmoidInstanceNorm1d, SigmoidInstanceNorm2d, SigmoidInstanceNorm3d),
        *(SigmoidLayerNorm, SigmoidRMSNorm, SigmoidGroupNorm),
    )
}
TaskSigmoidNorm.named = {
    kind.host_type: kind
    for kind in (
        *(TaskSigmoidBatchNorm1d, TaskSigmoidBatchNorm2d, TaskSigmoidBatchNorm3d),
        TaskSigmoidLayerNorm,
    )
}


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


def has_statistics(module: nn.Module) -> bool:
    """Whether a module normalises by statistics of a batch, running ones or not."""
    return isinstance(module, _BatchNorm) or module._buffers.get("running_mean") is not None


def shares_statistics(module: nn.Module) -> bool:
    """Whether a module normalises by statistics of a batch that are not a task's own."""
    return has_statistics(module) and "running_mean" not in getattr(module, "per_task", ())


def _forget(layer: nn.Module) -> None:
    """Fresh running statistics, where there are any."""
    for name, value in ("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0):
        if layer._buffers.get(name) is not None:
            layer._buffers[name].fill_(value)
