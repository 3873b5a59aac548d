"""GradDrop: each shared number keeps only the gradients of one sign, which is drawn at random.

Chen et al., "Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout",
NeurIPS 2020, algorithm 1, on the parameters instead of the representation.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.rows import Row, Rows

__all__ = ["SignDropout", "balancing"]


class SignDropout(Rows):
    """The positive or the negative gradients of each shared number, chosen at random.

    With the sums p = Σ_t max(g_t, 0) and n = Σ_t min(g_t, 0) of a number of the shared parameters,

        d = p with the probability ½ (1 + Σ_t g_t / Σ_t abs(g_t)) = p / (p - n), else d = n

    A leak l gives l (p + n) + (1 - l) d instead. Random numbers come from a separate stream, as in
    :class:`~tssbn.training.balancing.Aggregated`; on a GPU they are drawn by the GPU.

    Args:
        net: the network.
        leak: l, from 0 to 1; with 1 it is the plain sum.

    Raises:
        ValueError: `leak` is not between 0 and 1, or the tasks share no parameter.

    Example:
        >>> from tssbn.training.balancing.probe import Numbers
        >>> dropout = SignDropout(Numbers(torch.zeros(2), ("a", "b")))
        >>> rows = {"a": [torch.tensor([1.0, 1.0])], "b": [torch.tensor([2.0, -1.0])]}
        >>> dropout.combine(rows, products=None)[0].abs()  # 1 + 2, and 1 or -1
        tensor([3., 1.])
    """

    def __init__(self, net: MultiTaskNetwork, leak: float = 0.0):
        super().__init__(net)
        if not 0 <= leak <= 1:
            raise ValueError(f"leak={leak} must be between 0 and 1")
        self.leak = leak
        self.register_buffer("seed", torch.randint(2**62, ()))  # of the next step

    def combine(self, rows: Mapping[str, Row], products: Tensor) -> Row:
        """Choose a sign for each number, and sum the gradients of this sign.

        Args:
            rows: the tasks' gradients.
            products: unused.
        """
        random = torch.Generator(self.shared[0].device).manual_seed(int(self.seed))
        self.seed += 1
        found = []
        for column in zip(*rows.values(), strict=True):
            known = [g for g in column if g is not None]
            found.append(self._drop(torch.stack(known), random) if known else None)
        return found

    def _drop(self, gradients: Tensor, random: torch.Generator) -> Tensor:
        positive, negative = gradients.clamp(min=0).sum(0), gradients.clamp(max=0).sum(0)
        chance = positive / (positive - negative)  # NaN where all gradients are 0, where d is 0
        u = torch.rand(chance.shape, generator=random, device=chance.device, dtype=chance.dtype)
        kept = torch.where(u < chance, positive, negative)
        return self.leak * (positive + negative) + (1 - self.leak) * kept


def balancing(net: MultiTaskNetwork, leak: float = 0.0) -> SignDropout:
    """Make GradDrop on the parameters that the network's tasks share, see :class:`SignDropout`.

    Args:
        net: the network.
        leak: the share of the plain sum in the step, from 0 to 1.

    Raises:
        ValueError: `leak` is not between 0 and 1, or the tasks share no parameter.

    Example:
        >>> from tssbn.training.balancing.probe import Probe
        >>> def losses(theta):  # with the gradients (1, 0) and (0, 2)
        ...     return torch.stack([theta[0], 2 * theta[1]]) + 5
        >>> Probe("graddrop", torch.zeros(2), losses).step()  # no signs differ
        tensor([1., 2.])
    """
    return SignDropout(net, leak)
