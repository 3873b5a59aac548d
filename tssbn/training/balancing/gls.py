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
    """S = (Π_t L_t)^(1/T): a task weighs S / (T L_t).

    Computed by logarithms, as the product of many small losses would be 0.

    Example:
        >>> import torch
        >>> geometric_mean(torch.tensor([1.0, 4.0]))
        tensor(2.)
    """
    return logarithm(losses).mean().exp()


def balancing(net: MultiTaskNetwork) -> Scalarised:
    """The geometric mean."""
    return Scalarised(geometric_mean, positive=True)
