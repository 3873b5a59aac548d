"""GradDrop: each shared parameter keeps only the gradients of one sign, which is drawn at random.

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
    """Keeps P = Σ_t max(g_t, 0) with the chance P / (P - N), else N = Σ_t min(g_t, 0), by number.

    The stream of random numbers is its own, as that of `Aggregated`; on a GPU it is the GPU's.

    Args:
        net: The network.
        leak: How much of what is dropped is kept after all, from 0 to 1, where it is the plain sum.

    Raises:
        ValueError: `leak` is not between 0 and 1, or the tasks share no parameter.
    """

    def __init__(self, net: MultiTaskNetwork, leak: float = 0.0):
        super().__init__(net)
        if not 0 <= leak <= 1:
            raise ValueError(f"leak={leak} must be between 0 and 1")
        self.leak = leak
        self.register_buffer("seed", torch.randint(2**62, ()))  # of the next step

    def combine(self, rows: Mapping[str, Row], products: Tensor) -> Row:
        """One sign of each number."""
        random = torch.Generator(self.shared[0].device).manual_seed(int(self.seed))
        self.seed += 1
        found = []
        for column in zip(*rows.values(), strict=True):
            known = [g for g in column if g is not None]
            found.append(self._drop(torch.stack(known), random) if known else None)
        return found

    def _drop(self, gradients: Tensor, random: torch.Generator) -> Tensor:
        positive, negative = gradients.clamp(min=0).sum(0), gradients.clamp(max=0).sum(0)
        chance = positive / (positive - negative)  # NaN where all are 0, and so is what is kept
        u = torch.rand(chance.shape, generator=random, device=chance.device, dtype=chance.dtype)
        kept = torch.where(u < chance, positive, negative)
        return self.leak * (positive + negative) + (1 - self.leak) * kept


def balancing(net: MultiTaskNetwork, leak: float = 0.0) -> SignDropout:
    """GradDrop on the parameters that the network's tasks share.

    Args:
        leak: see :class:`SignDropout`.
    """
    return SignDropout(net, leak)
