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
    """S = T Σ_t softmax(z)_t L_t, where z is drawn from N(0, 1) in each step.

    The stream of random numbers is its own: it goes on after an interruption, is the same in all
    processes, and changes nothing else that is random. (The T is not
    of the paper: it makes the step that of the plain sum in the mean.)

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
    """Random weights of the network's tasks, whose sum is their number."""
    return RandomWeights()
