"""FAMO: it makes all losses fall at the same rate, measured after each step.

Liu et al., "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023.

A backward pass, for which the graphs of all tasks are in memory at once, and a second forward pass
without a graph.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import refuse_float16
from tssbn.training.balancing.logarithm import EPSILON, logarithm
from tssbn.training.balancing.scalarised import Scalarised
from tssbn.training.processes import all_reduce_mean

__all__ = ["FastAdaptive", "balancing"]


class FastAdaptive(Scalarised):
    """S = T c Σ_t z_t log L_t, with z = softmax(w) and the constant c = 1 / Σ_t (z_t / L_t).

    A task weighs T c z_t / L_t, and all weights add up to T. After the step the losses of the same
    batch are L'; the decreases δ_t = log L_t - log L'_t are the gradient z_t (δ_t - Σ_s z_s δ_s) of
    w, which an Adam of its own follows: a task that fell faster than the others loses weight.

    The second forward pass is in training mode, as in the public code, so that dropout draws anew;
    unlike there, it leaves running statistics as they were. (The T is not of the paper: it makes
    the step that of the plain sum where the tasks agree.)

    Args:
        tasks: How many.
        lr, weight_decay: Those of the Adam of w, which starts at 0.

    Raises:
        ValueError: `lr` is not positive, or `weight_decay` negative.

    Example:
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
        """Refuse float16, which leaves steps out, whose change of the losses would be noise."""
        why = "leaves out steps whose gradients overflow, so the fall of the losses is unknown"
        refuse_float16(precision, why)

    def groups(self, lr: float) -> list[dict]:
        """None: its own optimiser trains w."""
        return []

    def scalarise(self, losses: Tensor) -> Tensor:
        z = self.logits.detach().softmax(0)
        self.before = losses.detach()
        c = 1 / (z / (self.before + EPSILON)).sum()
        return len(losses) * c * (z * logarithm(losses)).sum()

    @torch.no_grad()
    def after_step(self, losses: Callable[[], Mapping[str, Tensor]], fabric: Fabric) -> None:
        """Learn from what the step did to the losses."""
        after = torch.stack(list(losses().values()))
        all_reduce_mean(fabric, [after])
        fall = logarithm(self.before) - logarithm(after)
        z = self.logits.softmax(0)
        self.logits.grad = (z * (fall - (z * fall).sum())).to(self.logits)
        self.adam.step()
        self.logits.grad = None

    def get_extra_state(self) -> dict[str, Any]:
        """The moments of its optimiser."""
        return self.adam.state_dict()

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on with them."""
        self.adam.load_state_dict(deepcopy(dict(state)))  # which would share its tensors


def balancing(net: MultiTaskNetwork, lr: float = 0.025, weight_decay: float = 1e-3) -> FastAdaptive:
    """FAMO of the network's tasks.

    Args:
        lr, weight_decay: see :class:`FastAdaptive`; the defaults are those of LibMTL. No
            schedule applies.
    """
    return FastAdaptive(len(net.tasks), lr, weight_decay)
