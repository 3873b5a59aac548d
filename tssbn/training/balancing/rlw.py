"""Random loss weighting: each step draws new random weights for the losses.

Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning",
TMLR 2022.

A backward pass, for which the graphs of all tasks are in memory at once.
"""

import torch
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.scalarised import Scalarised

__all__ = ["RandomWeights", "balancing"]


class RandomWeights(Scalarised):
    """The sum S = T Σ_t softmax(z)_t L_t, where z is drawn from N(0, 1) in each step.

    Random numbers come from a separate stream, which is saved in checkpoints, is the same in all
    processes, and leaves all other random numbers unchanged. The factor T is not in the paper; with
    it the mean step is that of the plain sum.

    Example:
        >>> RandomWeights().scalarise(torch.ones(3)).item()
        3.0
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("seed", torch.randint(2**62, ()))  # of the next step's weights

    def scalarise(self, losses: Tensor) -> Tensor:
        random = torch.Generator().manual_seed(int(self.seed))
        self.seed += 1
        z = torch.randn(len(losses), generator=random).to(losses)
        return len(losses) * (z.softmax(0) * losses).sum()


def balancing(net: MultiTaskNetwork) -> RandomWeights:
    """Make random loss weighting, see :class:`RandomWeights`.

    Args:
        net: the network.

    Example:
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (1, 0)
        ...     return torch.stack([theta[0], theta[0]]) + 5
        >>> Probe("rlw", torch.zeros(2), losses).step().round(decimals=3)  # the weights sum to 2
        tensor([2., 0.])
    """
    return RandomWeights()
