"""IMTL-L, impartial losses: it learns a scale for each loss, so that all scaled losses approach 1.

Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021.

A backward pass, for which the graphs of all tasks are in memory at once.
"""

import torch
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.scalarised import Scalarised

__all__ = ["ImpartialLosses", "balancing"]


class ImpartialLosses(nn.Module):
    """S = Σ_t (exp(s_t) L_t - s_t), where s_t is learned and starts at 0.

    At rest exp(s_t) L_t = 1. It is twice the loss of uncertainty weighting, with s for -s.

    Args:
        tasks: How many.

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
    """Learned scales of the losses of the network's tasks.

    Args:
        lr: Learning rate of the scales, that of ``uw``; the schedule of the network applies.
    """
    return Scalarised(ImpartialLosses(len(net.tasks)), lr)
