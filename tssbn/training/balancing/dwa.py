"""Dynamic weight average: the more slowly a task's loss falls, the more weight it gets.

Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019.

A backward pass, for which the graphs of all tasks are in memory at once.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.logarithm import EPSILON
from tssbn.training.balancing.scalarised import Scalarised

__all__ = ["DynamicWeights", "balancing"]


class DynamicWeights(Scalarised):
    """S = Σ_t λ_t L_t with λ = T softmax(r / τ), r_t the mean loss of an epoch over that before.

    In the first two epochs all weights are 1.

    Args:
        tasks: How many.
        temperature: τ; the larger, the more even the weights.

    Raises:
        ValueError: `temperature` is not positive.

    Example:
        >>> dwa = DynamicWeights(3)
        >>> dwa.end_epoch({"a": 2.0, "b": 1.0, "c": 1.0})
        >>> dwa.end_epoch({"a": 1.0, "b": 1.0, "c": 0.5})
        >>> dwa.weights
        tensor([0.9135, 1.1730, 0.9135])
    """

    def __init__(self, tasks: int, temperature: float = 2.0):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be positive")
        self.temperature = temperature
        self.register_buffer("weights", torch.ones(tasks))
        self.register_buffer("before", torch.zeros(tasks))  # means of the last epoch

    def scalarise(self, losses: Tensor) -> Tensor:
        return (self.weights * losses).sum()

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Choose the weights of the next epoch."""
        means = torch.tensor(list(losses.values())).to(self.before)
        if self.before.any():
            rates = (means + EPSILON) / (self.before + EPSILON)
            self.weights.copy_(len(rates) * (rates / self.temperature).softmax(0))
        self.before.copy_(means)


def balancing(net: MultiTaskNetwork, temperature: float = 2.0) -> DynamicWeights:
    """Dynamic weights of the network's tasks.

    Args:
        temperature: see :class:`DynamicWeights`; 2 in the paper.
    """
    return DynamicWeights(len(net.tasks), temperature)
