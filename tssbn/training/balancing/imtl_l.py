"""IMTL-L: impartial losses, with a trained scale for each loss that brings it close to 1.

Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021.

A backward pass, for which the graphs of all tasks are in memory at once.
"""

import torch
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.scalarised import Scalarised

__all__ = ["ImpartialLosses", "balancing"]


class ImpartialLosses(nn.Module):
    """The sum S = Σ_t (exp(s_t) L_t - s_t), where s_t is trained and starts at 0.

    S is least for exp(s_t) L_t = 1. It is twice the sum of uncertainty weighting, with -s for s.

    Args:
        tasks: the number T of tasks.

    Example:
        >>> ImpartialLosses(2)(torch.tensor([1.0, 3.0])).item()
        4.0
    """

    def __init__(self, tasks: int):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(tasks))

    def forward(self, losses: Tensor) -> Tensor:
        s = self.log_scale
        return (s.exp() * losses - s).sum()


def balancing(net: MultiTaskNetwork, lr: float = 0.025) -> Scalarised:
    """Make IMTL-L, see :class:`ImpartialLosses`.

    Args:
        net: the network.
        lr: learning rate of s, the same as for ``uw``; the schedule of the network applies.

    Raises:
        ValueError: `lr` is not positive.

    Example:
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("imtl-l", torch.zeros(2), losses).step()  # both scales are 1 at first
        tensor([1., 2.])
    """
    return Scalarised(ImpartialLosses(len(net.tasks)), lr)
