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
    """Σ_t L_t + α R, with R the mean of cos²(g_s, g_t) over the pairs of tasks.

    Args:
        alpha: α; the paper takes 10 on NYUv2, and 0.1 on digits with BatchNorm.
        layer: whose gradients count, see :class:`~tssbn.training.balancing.SecondOrder`; the paper
            takes the last layer that all tasks share.
    """
    return SecondOrder(net, mean_squared_cosine, alpha, layer)
