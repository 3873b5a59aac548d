"""Nash-MTL: the step is the solution of a bargaining game, whatever the scales of the losses.

Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.fairgrad import Fair

__all__ = ["balancing"]


def balancing(net: MultiTaskNetwork, max_norm: float = 1.0) -> Aggregated:
    """Make Nash-MTL, whose weights w > 0 solve Mw = 1/w for the Gramian M of the gradients.

    They are solved anew in each step, as FairGrad with α = 1.

    Args:
        net: the network.
        max_norm: the largest length of the step, which is √T without a limit; 1 in the public code.

    Raises:
        ValueError: `max_norm` is not positive, or the tasks share no parameter.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("nash-mtl", torch.zeros(2), losses, max_norm=2.0).step().round(decimals=3)
        tensor([1., 1.])
    """
    return Aggregated(net, Fair(1.0, max_norm))
