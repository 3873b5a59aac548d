"""IMTL-G: impartial gradients, a step with equal projections on the tasks' gradients.

Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from torchjd.aggregation import IMTLGWeighting

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.normalised import Normalised, Present

__all__ = ["balancing"]


def balancing(net: MultiTaskNetwork) -> Aggregated:
    """Make IMTL-G, whose step d has the same projection d·g_t / ‖g_t‖ for all tasks.

    With the Gramian M of the gradients, the weights are T w / Σ_t w_t with w = M⁺ √diag(M). They
    sum to T, and some may be negative.

    Args:
        net: the network.

    Raises:
        ValueError: the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("imtl-g", torch.zeros(2), losses).step()
        tensor([1.3333, 1.3333])
    """
    return Aggregated(net, Present(Normalised(IMTLGWeighting()), mean=True))
