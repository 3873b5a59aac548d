"""Geometric loss strategy: the geometric mean of the losses.

Chennupati et al., "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for
Multi-Task Learning", CVPR Workshops 2019.

A backward pass, for which the graphs of all tasks are in memory at once.
"""

from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.logarithm import logarithm
from tssbn.training.balancing.scalarised import Scalarised

__all__ = ["balancing", "geometric_mean"]


def geometric_mean(losses: Tensor) -> Tensor:
    """Compute S = (Π_t L_t)^(1/T), in which task t has the weight ∂S/∂L_t = S / (T L_t).

    It is computed by logarithms, because the product of many small losses would round to 0.

    Args:
        losses: (T,), not negative.

    Example:
        >>> import torch
        >>> geometric_mean(torch.tensor([1.0, 4.0]))
        tensor(2.)
    """
    return logarithm(losses).mean().exp()


def balancing(net: MultiTaskNetwork) -> Scalarised:
    """Make the geometric loss strategy.

    Args:
        net: the network.

    Raises:
        ValueError: a loss is negative.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("gls", torch.zeros(2), losses).step()
        tensor([0.5000, 1.0000])
    """
    return Scalarised(geometric_mean, positive=True)
