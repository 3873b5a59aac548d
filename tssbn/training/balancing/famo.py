"""FAMO: the weights of the losses are trained so that all losses fall at the same rate.

Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023.

A backward pass, for which the graphs of all tasks are in memory at once, and a second forward pass
without a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import refuse_float16
from tssbn.training.balancing.logarithm import EPSILON, logarithm
from tssbn.training.balancing.scalarised import Scalarised
from tssbn.training.processes import all_reduce_mean

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["FastAdaptive", "balancing"]


class FastAdaptive(Scalarised):
    """The sum S = T c Σ_t z_t log L_t with z = softmax(w) and the constant c = 1 / Σ_t (z_t / L_t).

    The gradient of task t thus has the weight T c z_t / L_t, and all weights sum to T. After the
    step the losses of the same batch are L'. With the decreases δ_t = log L_t - log L'_t, w has the
    gradient z_t (δ_t - Σ_s z_s δ_s), which a separate Adam follows: a task whose loss fell faster
    than the others gets a smaller weight.

    The second forward pass is in training mode, so dropout is drawn anew, as in the public code.
    Unlike there, it leaves running statistics unchanged. The factor T is not in the paper; with it
    the step is that of the plain sum where the tasks' gradients are equal.

    Args:
        tasks: the number T of tasks.
        lr, weight_decay: settings of the Adam of w; w starts at 0.

    Raises:
        ValueError: `lr` is not positive, or `weight_decay` negative.

    Example:
        >>> from lightning_fabric import Fabric
        >>> famo, fabric = FastAdaptive(2), Fabric(accelerator="cpu", devices=1)
        >>> _ = famo.scalarise(torch.tensor([1.0, 1.0]))
        >>> famo.after_step(lambda: {"a": torch.tensor(0.9), "b": torch.tensor(0.99)}, fabric)
        >>> famo.logits.data
        tensor([-0.0250,  0.0250])
    """

    def __init__(self, tasks: int, lr: float = 0.025, weight_decay: float = 1e-3):
        super().__init__(lr=lr, positive=True)
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay={weight_decay} must be 0 or more")
        self.logits = nn.Parameter(torch.zeros(tasks))
        self.adam = torch.optim.Adam([self.logits], lr, weight_decay=weight_decay)

    def check(self, precision: str, compile: bool) -> None:
        """Raise an error for float16, which skips steps; the change of the losses would be noise.

        Args:
            precision, compile: see :func:`~tssbn.training.loop.train`.

        Raises:
            ValueError: the precision is ``"16"``.
        """
        why = "leaves out steps whose gradients overflow, so the fall of the losses is unknown"
        refuse_float16(precision, why)

    def groups(self, lr: float) -> list[dict]:
        """Return no group, because a separate optimiser trains w."""
        return []

    def scalarise(self, losses: Tensor) -> Tensor:
        z = self.logits.detach().softmax(0)
        self.before = losses.detach()
        c = 1 / (z / (self.before + EPSILON)).sum()
        return len(losses) * c * (z * logarithm(losses)).sum()

    @torch.no_grad()
    def after_step(self, losses: Callable[[], Mapping[str, Tensor]], fabric: Fabric) -> None:
        """Update w from the change of the losses in this step.

        Args:
            losses: computes the losses of the same batch again.
            fabric: has the other processes.
        """
        after = torch.stack(list(losses().values()))
        all_reduce_mean(fabric, [after])
        fall = logarithm(self.before) - logarithm(after)
        z = self.logits.softmax(0)
        self.logits.grad = (z * (fall - (z * fall).sum())).to(self.logits)
        self.adam.step()
        self.logits.grad = None

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of the optimiser of w."""
        return self.adam.state_dict()

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the optimiser of w."""
        self.adam.load_state_dict(deepcopy(dict(state)))  # Adam would change the state's tensors


def balancing(net: MultiTaskNetwork, lr: float = 0.025, weight_decay: float = 1e-3) -> FastAdaptive:
    """Make FAMO, see :class:`FastAdaptive`.

    Args:
        net: the network.
        lr, weight_decay: settings of the optimiser of w, which has no schedule; the defaults are
            those of LibMTL.

    Raises:
        ValueError: `lr` is not positive, or `weight_decay` is negative.

    Example:
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("famo", torch.zeros(2), losses).step().round(decimals=3)  # both losses are 5
        tensor([1., 2.])
    """
    return FastAdaptive(len(net.tasks), lr, weight_decay)
