"""CosReg: a penalty on the squared cosines between the tasks' gradients.

Suteu and Guo, "Regularizing Deep Multi-Task Networks using Orthogonal Gradients",
arXiv 1912.06844, equations 4 and 5.

A gradient of the layer for each task, and a backward pass through all of them: gradients of
gradients, for which the graphs of all tasks are in memory at once.
"""

from tssbn.contract import MultiTaskNetwork
from tssbn.gradients import mean_squared_cosine
from tssbn.training.balancing.second_order import SecondOrder

__all__ = ["balancing"]


def balancing(net: MultiTaskNetwork, alpha: float = 10.0, layer: str = "") -> SecondOrder:
    """Make CosReg, Σ_t L_t + α R with R the mean of cos²(g_s, g_t) over the pairs of tasks.

    Args:
        net: the network.
        alpha: the weight α; 10 in the paper for NYUv2, and 0.1 for digits with BatchNorm.
        layer: the name of the module whose gradients g are compared, see
            :class:`~tssbn.training.balancing.SecondOrder`; in the paper the last layer that all
            tasks share, here by default all shared parameters.

    Raises:
        ValueError: `alpha` is negative or not finite, there is no such layer, or the tasks share no
            trained parameter in it.

    Example:
        >>> import torch
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (2, 2)
        ...     return torch.stack([theta[0], 2 * theta.sum()]) + 5
        >>> Probe("cosreg", torch.zeros(2), losses).step()
        tensor([3., 2.])
    """
    return SecondOrder(net, mean_squared_cosine, alpha, layer)
