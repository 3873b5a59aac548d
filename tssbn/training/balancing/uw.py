"""Uncertainty weighting: each task's loss is divided by a trained variance.

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
    """The sum S = Σ_t ½ (exp(-s_t) L_t + s_t), where s_t = log σ_t² is trained and starts at 0.

    This is equation 7 of Kendall et al., here for every kind of loss. S is least for exp(s_t) =
    L_t, where task t has the weight 1 / (2 L_t).

    Args:
        tasks: the number T of tasks.

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
    """Make uncertainty weighting, see :class:`UncertaintyWeighting`.

    Args:
        net: the network.
        lr: learning rate of the log-variances; the schedule of the network applies. It is 0.025 in
            the public code of FAMO (Liu et al., NeurIPS 2023).

    Raises:
        ValueError: `lr` is not positive.

    Example:
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("uw", torch.zeros(2), losses).step()
        tensor([0.5000, 1.0000])
    """
    return Scalarised(UncertaintyWeighting(len(net.tasks)), lr)
