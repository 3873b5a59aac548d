"""DB-MTL: smoothed gradients of the losses' logarithms, all scaled to the length of the longest.

Lin et al., "Dual-Balancing for Multi-Task Learning", arXiv 2308.12029.

A backward pass for each task, and memory for two gradients of the shared parameters, one of which
is in the checkpoint, too.
"""

from collections.abc import Mapping
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.logarithm import EPSILON, check_positive, logarithm
from tssbn.training.balancing.rows import Row, Rows, gramian, weighted_sum
from tssbn.training.processes import mean_value

__all__ = ["DualBalancing", "balancing"]


class DualBalancing(Rows):
    """d = Σ_t (max_s ‖b_s‖ / ‖b_t‖) b_t, where b_t ← β b_t + (1 - β) g_t, and b_t = 0 at first.

    g_t is the gradient of log L_t; heads and gates get that, too.

    Args:
        net: The network.
        beta: β, from 0, which smooths nothing, to below 1.

    Raises:
        ValueError: `beta` is not from 0 to below 1, the tasks share no parameter, or a loss is
            negative.
    """

    def __init__(self, net: MultiTaskNetwork, beta: float = 0.9):
        super().__init__(net)
        if not 0 <= beta < 1:
            raise ValueError(f"beta={beta} must be 0 or more, and less than 1")
        self.beta = beta
        self.smooth: dict[str, Row] = {}

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """The rows of the logarithms."""
        check_positive(losses)
        logarithms = {task: logarithm(mean_value(fabric, loss)) for task, loss in losses.items()}
        super().backward(net, logarithms, fabric)

    def combine(self, rows: Mapping[str, Row], products: Tensor) -> Row:
        """Smooth the rows, and weigh them by their lengths."""
        for task, row in rows.items():
            before = self.smooth.get(task, [None] * len(row))
            self.smooth[task] = [self._mean(*pair) for pair in zip(before, row, strict=True)]
        smooth = [self.smooth[task] for task in rows]
        lengths = gramian(smooth).diagonal().sqrt()
        return weighted_sum(smooth, (lengths.max() / (lengths + EPSILON)).tolist())

    def _mean(self, before: Tensor | None, now: Tensor | None) -> Tensor | None:
        if before is None:
            return None if now is None else (1 - self.beta) * now
        return self.beta * before if now is None else before.lerp(now, 1 - self.beta)

    def get_extra_state(self) -> dict[str, Any]:
        """The smoothed gradients."""
        return {"smooth": dict(self.smooth)}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on with them."""
        self.smooth = {
            task: [None if b is None else b.to(p) for b, p in zip(row, self.shared, strict=True)]
            for task, row in state["smooth"].items()
        }


def balancing(net: MultiTaskNetwork, beta: float = 0.9) -> DualBalancing:
    """DB-MTL of the network's tasks.

    Args:
        beta: see :class:`DualBalancing`; 0.9 is that of LibMTL.
    """
    return DualBalancing(net, beta)
