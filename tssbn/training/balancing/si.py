"""Scale-invariant loss: the sum of the logarithms of the losses.

A baseline of Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022.

A backward pass, for which the graphs of all tasks are in memory at once.
"""

from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.logarithm import logarithm
from tssbn.training.balancing.scalarised import Scalarised

__all__ = ["balancing", "log_sum"]


def log_sum(losses: Tensor) -> Tensor:
    """S = Σ_t log L_t: a task weighs 1 / L_t.

    Example:
        >>> import torch
        >>> losses = torch.tensor([1.0, 4.0], requires_grad=True)
        >>> log_sum(losses).backward()
        >>> losses.grad
        tensor([1.0000, 0.2500])
    """
    return logarithm(losses).sum()


def balancing(net: MultiTaskNetwork) -> Scalarised:
    """The sum of the logarithms."""
    return Scalarised(log_sum, positive=True)
