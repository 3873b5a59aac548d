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
    """Compute S = Σ_t log L_t, in which task t has the weight ∂S/∂L_t = 1 / L_t.

    Args:
        losses: (T,), not negative.

    Example:
        >>> import torch
        >>> losses = torch.tensor([1.0, 4.0], requires_grad=True)
        >>> log_sum(losses).backward()
        >>> losses.grad
        tensor([1.0000, 0.2500])
    """
    return logarithm(losses).sum()


def balancing(net: MultiTaskNetwork) -> Scalarised:
    """Make the scale-invariant loss, see :func:`log_sum`.

    Args:
        net: the network.

    Raises:
        ValueError: a loss is negative.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("si", torch.zeros(2), losses).step()
        tensor([0.2000, 0.4000])
    """
    return Scalarised(log_sum, positive=True)
