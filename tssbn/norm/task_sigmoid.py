"""TSσBN, equation 3: norm layers with a gate for each task."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.norm.task_specific import TaskSpecificNorm, give_rows
from tssbn.tasks import Tasks

__all__ = [
    "TaskSigmoidBatchNorm",
    "TaskSigmoidBatchNorm1d",
    "TaskSigmoidBatchNorm2d",
    "TaskSigmoidBatchNorm3d",
    "TaskSigmoidLayerNorm",
    "TaskSigmoidNorm",
]


class TaskSigmoidNorm(TaskSpecificNorm):
    """Gate any host layer for each task, ``y = σ(γ_t)·x̂_t`` (arXiv 2512.20420, eq. 3).

    `tssbn.task_specific` makes these layers. Some of its affine modes keep a scale and a bias,
    ``y = s·σ(γ_t)·x̂_t + β_t``.
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
    """TSσBN for PyTorch's BatchNorm, with gates and running statistics for each task.

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
        if self.tasks.now.stem and self.can_defer:
            return self.normalise(x)
        if not self.is_plain or self.momentum is None or self.tasks.now.count == 1:
            return super().forward(x)  # one task is an ordinary layer
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
        # Views or an error, never copies, which would be updated in vain.
        mean, var = self.rows(self.running_mean).view(-1), self.rows(self.running_var).view(-1)
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
        if not self.is_plain or self.tasks.now.count == 1:
            return super().forward(x)
        gates = self.rows(self.gamma).sigmoid()  # (t, C)
        of_tasks = self.unstack(x).unbind(1)  # t times (B, ..., C)
        y = [
            F.layer_norm(one, self.normalized_shape, gate, None, self.eps)
            for one, gate in zip(of_tasks, gates, strict=True)
        ]
        return self.stack(torch.stack(y, dim=1))  # (B·t, ..., C)


TaskSigmoidNorm.named = {
    kind.host_type: kind
    for kind in (
        *(TaskSigmoidBatchNorm1d, TaskSigmoidBatchNorm2d, TaskSigmoidBatchNorm3d),
        TaskSigmoidLayerNorm,
    )
}
