"""IMTL: impartial losses, and impartial gradients of the scaled losses.

Liu et al., "Towards Impartial Multi-Task Learning", ICLR 2021.

A backward pass for each task, and memory for its gradient of the shared parameters.
"""

from collections.abc import Mapping

from lightning_fabric import Fabric
from torch import Tensor
from torchjd.aggregation import IMTLGWeighting

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.imtl_l import ImpartialLosses
from tssbn.training.balancing.normalised import Normalised, Present

__all__ = ["Impartial", "balancing"]


class Impartial(Aggregated):
    """Heads and gates get the gradients of exp(s_t) L_t, the shared parameters those of IMTL-G.

    Args:
        net: The network.
        lr: Learning rate of s, see ``imtl-l``.

    Raises:
        ValueError: `lr` is not positive, or the tasks share no parameter.
    """

    def __init__(self, net: MultiTaskNetwork, lr: float = 0.025):
        super().__init__(net, Present(Normalised(IMTLGWeighting()), mean=True))
        if not lr > 0:
            raise ValueError(f"lr={lr} must be positive")
        self.scales, self.lr, self.tasks = ImpartialLosses(len(net.tasks)), lr, net.tasks

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """The rows of the scaled losses."""
        scales = dict(zip(self.tasks, self.scales.log_scale, strict=True))
        scaled = {task: scales[task].exp() * loss - scales[task] for task, loss in losses.items()}
        super().backward(net, scaled, fabric)


def balancing(net: MultiTaskNetwork, lr: float = 0.025) -> Impartial:
    """IMTL of the network's tasks.

    Args:
        lr: Learning rate of the scales of the losses; the schedule of the network applies.
    """
    return Impartial(net, lr)
