"""DB-MTL: smoothed gradients of the losses' logarithms, all scaled to the length of the longest.

Lin et al., "Dual-Balancing for Multi-Task Learning", arXiv 2308.12029.

A backward pass for each task, and memory for two gradients of the shared parameters, one of which
is in the checkpoint, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.logarithm import EPSILON, check_positive, logarithm
from tssbn.training.balancing.rows import Row, Rows, gramian, weighted_sum
from tssbn.training.processes import mean_value

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["DualBalancing", "balancing"]


class DualBalancing(Rows):
    """The sum d = Σ_t (max_s ‖b_s‖ / ‖b_t‖) b_t of smoothed gradients b_t of the tasks.

    With the gradient g_t of log L_t, b_t ← β b_t + (1 - β) g_t in each step, from b_t = 0. Heads
    and gates get the gradient of log L_t as well.

    Args:
        net: the network.
        beta: β, from 0, which means no smoothing, to below 1.

    Raises:
        ValueError: `beta` is not from 0 to below 1, the tasks share no parameter, or a loss is
            negative.

    Example:
        >>> from lightning_fabric import Fabric
        >>> import torch
        >>> from tssbn.training.balancing.probe import Numbers
        >>> net, fabric = Numbers(torch.ones(2), ("a", "b")), Fabric(accelerator="cpu", devices=1)
        >>> balancing = DualBalancing(net, beta=0.0)
        >>> balancing.backward(net, {"a": net.theta[0] ** 3, "b": net.theta[1]}, fabric)
        >>> balancing.finish(net, fabric)
        >>> net.theta.grad  # the logarithms have the gradients (3, 0) and (0, 1)
        tensor([3., 3.])
    """

    def __init__(self, net: MultiTaskNetwork, beta: float = 0.9):
        super().__init__(net)
        if not 0 <= beta < 1:
            raise ValueError(f"beta={beta} must be 0 or more, and less than 1")
        self.beta = beta
        self.smooth: dict[str, Row] = {}

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Store the gradients of the logarithms, one row for each task."""
        check_positive(losses)
        logarithms = {task: logarithm(mean_value(fabric, loss)) for task, loss in losses.items()}
        super().backward(net, logarithms, fabric)

    def combine(self, rows: Mapping[str, Row], products: Tensor) -> Row:
        """Smooth the rows, and sum them at the length of the longest."""
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
        """Return the smoothed gradients."""
        return {"smooth": dict(self.smooth)}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the smoothed gradients."""
        self.smooth = {
            task: [None if b is None else b.to(p) for b, p in zip(row, self.shared, strict=True)]
            for task, row in state["smooth"].items()
        }


def balancing(net: MultiTaskNetwork, beta: float = 0.9) -> DualBalancing:
    """Make DB-MTL, see :class:`DualBalancing`.

    Args:
        net: the network.
        beta: β; 0.9 in LibMTL.

    Raises:
        ValueError: `beta` is not from 0 to below 1, or the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("db-mtl", torch.zeros(2), losses, beta=0.0).step()
        tensor([0.4000, 0.4000])
    """
    return DualBalancing(net, beta)
