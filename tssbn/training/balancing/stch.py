"""Smooth Tchebycheff scalarisation: a smooth form of the largest of the losses.

Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024.

A backward pass, for which the graphs of all tasks are in memory at once.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.logarithm import logarithm
from tssbn.training.balancing.scalarised import Scalarised

__all__ = ["SmoothTchebycheff", "balancing"]


class SmoothTchebycheff(Scalarised):
    """The maximum of log(L_t / n_t), smoothed as S = T μ log Σ_t exp(log(L_t / n_t) / μ).

    The first epochs minimise Σ_t log L_t instead; n_t is the mean loss of the last of these, as in
    the public code of the paper. A run with no more epochs than these equals one of ``si``.

    Args:
        tasks: the number T of tasks.
        mu: μ; the smaller it is, the closer S / T is to the largest log(L_t / n_t).
        warmup: number of first epochs, 1 or more.

    Raises:
        ValueError: `mu` is not positive, or `warmup` less than 1.

    Example:
        >>> stch = SmoothTchebycheff(2, warmup=1)
        >>> stch.end_epoch({"a": 2.0, "b": 1.0})
        >>> round(stch.scalarise(torch.tensor([2.0, 1.0])).item(), 4)  # 2 log(1 + 1)
        1.3863
    """

    def __init__(self, tasks: int, mu: float = 1.0, warmup: int = 5):
        super().__init__(positive=True)
        if not mu > 0:
            raise ValueError(f"mu={mu} must be positive")
        if warmup < 1:
            raise ValueError(f"warmup={warmup} must be at least 1")
        self.mu, self.warmup, self.epochs = mu, warmup, 0
        self.register_buffer("nadir", torch.ones(tasks))

    def scalarise(self, losses: Tensor) -> Tensor:
        if self.epochs < self.warmup:
            return logarithm(losses).sum()
        relative = logarithm(losses) - logarithm(self.nadir)
        return len(losses) * self.mu * (relative / self.mu).logsumexp(0)

    def end_epoch(self, losses: Mapping[str, float]) -> None:
        """Store the mean losses n of the last of the first epochs.

        Args:
            losses: mean losses of this epoch, by task.
        """
        self.epochs += 1
        if self.epochs == self.warmup:
            self.nadir.copy_(torch.tensor(list(losses.values())))

    def get_extra_state(self) -> int:
        """Return the number of epochs that are over."""
        return self.epochs

    def set_extra_state(self, state: int) -> None:
        """Restore the number of epochs that are over."""
        self.epochs = state


def balancing(net: MultiTaskNetwork, mu: float = 1.0, warmup: int = 5) -> SmoothTchebycheff:
    """Make the smooth Tchebycheff scalarisation, see :class:`SmoothTchebycheff`.

    Args:
        net: the network.
        mu, warmup: the defaults are those of the public code.

    Raises:
        ValueError: `mu` is not positive, or `warmup` is less than 1.

    Example:
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("stch", torch.zeros(2), losses).step()  # as si at first
        tensor([0.2000, 0.4000])
    """
    return SmoothTchebycheff(len(net.tasks), mu, warmup)
