"""MMoE: several trunks, the experts, whose features each task mixes with weights of a gate.

(Ma et al., KDD 2018; for images as in LibMTL's code.) Every expert is a whole trunk E_k. Task t has
a gate g_t, which is linear in the input x and followed by a softmax, and a head D_t:

    y_t = D_t(Σ_k g_t(x)_k · E_k(x))

Experts that start from the same pretrained weights are equal at first, and the outputs are those of
HPS; they become different because tasks weigh them differently. With one expert it is HPS.
"""

from collections.abc import Mapping

from tssbn.methods import Method, Network, heads
from tssbn.methods.experts import Experts, softmax

__all__ = ["build"]


def build(
    network: Network, outputs: Mapping[str, int], experts: int = 2, gate: str = "pooled"
) -> Experts:
    """Build the experts, and a gate and a head for each task.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        experts: number of trunks.
        gate: what the gates read: ``"pooled"``, the means of the input's channels, or ``"image"``,
            all its values, as in LibMTL; see :mod:`tssbn.methods.experts`.

    Raises:
        ValueError: there is no expert, or no such gate.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = Network(lambda: nn.Linear(4, 3), lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> net = build(network, {"seg": 3, "depth": 1})
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 4)).items()}
        {'seg': (2, 3), 'depth': (2, 1)}
    """
    if experts < 1:
        raise ValueError(f"experts={experts} must be 1 or more")
    trunks, readers = [network.trunk() for _ in range(experts)], heads(network, outputs)
    shape = network.example.shape[1:]
    gates = {task: softmax(gate, shape, experts) for task in outputs}
    return Experts(trunks, dict.fromkeys(outputs, range(experts)), gates, readers)


METHOD = Method("MMoE", build)
