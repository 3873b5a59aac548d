"""IMTL: impartial losses, and impartial gradients of the scaled losses.

Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor
from torchjd.aggregation import IMTLGWeighting

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.imtl_l import ImpartialLosses
from tssbn.training.balancing.normalised import Normalised, Present

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Impartial", "balancing"]


class Impartial(Aggregated):
    """IMTL-G on the losses exp(s_t) L_t - s_t of IMTL-L, in which s is trained.

    Shared parameters get the step of IMTL-G for the gradients of exp(s_t) L_t; heads and gates get
    the gradients themselves.

    Args:
        net: the network.
        lr: learning rate of s.

    Raises:
        ValueError: `lr` is not positive, or the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Numbers
        >>> Impartial(Numbers(torch.zeros(2), ("a", "b"))).scales.log_scale.data
        tensor([0., 0.])
    """

    def __init__(self, net: MultiTaskNetwork, lr: float = 0.025):
        super().__init__(net, Present(Normalised(IMTLGWeighting()), mean=True))
        if not lr > 0:
            raise ValueError(f"lr={lr} must be positive")
        self.scales, self.lr, self.tasks = ImpartialLosses(len(net.tasks)), lr, net.tasks

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Store the gradients of the scaled losses, one row for each task."""
        scales = dict(zip(self.tasks, self.scales.log_scale, strict=True))
        scaled = {task: scales[task].exp() * loss - scales[task] for task, loss in losses.items()}
        super().backward(net, scaled, fabric)


def balancing(net: MultiTaskNetwork, lr: float = 0.025) -> Impartial:
    """Make IMTL, which combines IMTL-L and IMTL-G.

    Args:
        net: the network.
        lr: learning rate of the scales of the losses; the schedule of the network applies.

    Raises:
        ValueError: `lr` is not positive, or the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("imtl", torch.zeros(2), losses).step()
        tensor([1.3333, 1.3333])
    """
    return Impartial(net, lr)
