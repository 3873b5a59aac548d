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
    """The sum S = Σ_t λ_t L_t with λ = T softmax(r / τ) and r_t(e) = L_t(e - 1) / L_t(e - 2).

    L_t(e) is the mean training loss of task t in epoch e. In the first two epochs all weights are
    1.

    Args:
        tasks: the number T of tasks.
        temperature: τ; a larger one makes the weights more even.

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
        self.register_buffer("before", torch.zeros(tasks))  # mean losses of the last epoch

    def scalarise(self, losses: Tensor) -> Tensor:
        return (self.weights * losses).sum()

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Compute the weights of the next epoch.

        Args:
            losses: mean losses of this epoch, by task.
        """
        means = torch.tensor(list(losses.values())).to(self.before)
        if self.before.any():
            rates = (means + EPSILON) / (self.before + EPSILON)
            self.weights.copy_(len(rates) * (rates / self.temperature).softmax(0))
        self.before.copy_(means)


def balancing(net: MultiTaskNetwork, temperature: float = 2.0) -> DynamicWeights:
    """Make dynamic weight averaging, see :class:`DynamicWeights`.

    Args:
        net: the network.
        temperature: τ; 2 in the paper.

    Raises:
        ValueError: `temperature` is not positive.

    Example:
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("dwa", torch.zeros(2), losses).step()  # both weights are 1 at first
        tensor([1., 2.])
    """
    return DynamicWeights(len(net.tasks), temperature)
