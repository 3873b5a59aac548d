"""Uncertainty weighting: it learns a variance for each task's loss, and divides the loss by it.

Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry
and Semantics", CVPR 2018.

A backward pass, for which the graphs of all tasks are in memory at once.
"""

import torch
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.scalarised import Scalarised

__all__ = ["UncertaintyWeighting", "balancing"]


class UncertaintyWeighting(nn.Module):
    """S = Σ_t ½ (exp(-s_t) L_t + s_t), where s_t = log σ_t² is learned and starts at 0.

    (Kendall et al., equation 7, for every kind of loss.) At rest exp(s_t) = L_t: each task weighs
    1 / (2 L_t).

    Args:
        tasks: How many.

    Example:
        >>> UncertaintyWeighting(2)(torch.tensor([1.0, 3.0])).item()
        2.0
    """

    def __init__(self, tasks: int):
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(tasks))

    def forward(self, losses: Tensor) -> Tensor:
        s = self.log_variance
        return ((-s).exp() * losses + s).sum() / 2


def balancing(net: MultiTaskNetwork, lr: float = 0.025) -> Scalarised:
    """Uncertainty weighting of the network's tasks.

    Args:
        lr: Learning rate of the log-variances; the schedule of the network applies. 0.025 is that
            of the public code of FAMO (Liu et al., NeurIPS 2023).
    """
    return Scalarised(UncertaintyWeighting(len(net.tasks)), lr)
