"""CGC: each task mixes the features of trunks that all tasks share and of trunks for this task.

(Customized gate control; Tang et al., RecSys 2020; for images as in LibMTL's code.) Every expert is
a whole trunk. With m_s shared experts E_k and m_t experts E_tk of task t,

    y_t = D_t(Σ_k g_t(x)_k · E_k(x) + Σ_k g_t(x)_{m_s+k} · E_tk(x))

where the gate g_t is linear in the input x and followed by one softmax over all m_s + m_t experts,
and D_t is the head. With all weight on one shared expert it is HPS, with all weight on an expert of
the task STL. Each expert costs a pass.
"""

from collections.abc import Mapping

from tssbn.methods import Method, Network, heads
from tssbn.methods.experts import Experts, softmax
from tssbn.names import check_tasks

__all__ = ["build", "check_numbers"]


def build(
    network: Network,
    outputs: Mapping[str, int],
    shared_experts: int = 1,
    own_experts: int = 1,
    gate: str = "pooled",
) -> Experts:
    """Build the shared experts, those of each task, and a gate and a head for each task.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        shared_experts: m_s, the number of trunks that all tasks share.
        own_experts: m_t, the number of further trunks for each task.
        gate: what the gates read, ``"pooled"`` or ``"image"``; see :mod:`tssbn.methods.experts`.

    Raises:
        ValueError: a task would have no expert, or there is no such gate.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = Network(lambda: nn.Linear(4, 3), lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> net = build(network, {"seg": 3, "depth": 1})
        >>> len(net.experts), net.reads
        (3, {'seg': (0, 1), 'depth': (0, 2)})
    """
    check_numbers(shared_experts, own_experts)
    tasks, width = check_tasks(outputs), shared_experts + own_experts
    trunks = [network.trunk() for _ in range(shared_experts + own_experts * len(tasks))]
    readers, shape = heads(network, outputs), network.example.shape[1:]
    gates = {task: softmax(gate, shape, width) for task in tasks}
    reads = {}
    for place, task in enumerate(tasks):
        first = shared_experts + own_experts * place
        reads[task] = [*range(shared_experts), *range(first, first + own_experts)]
    return Experts(trunks, reads, gates, readers)


def check_numbers(shared_experts: int, own_experts: int) -> None:
    """Raise an error for numbers of experts that leave a task without any.

    Args:
        shared_experts: number of experts that all tasks share.
        own_experts: number of further experts for each task.

    Raises:
        ValueError: a number is negative, or both are 0.

    Example:
        >>> check_numbers(0, 0)
        Traceback (most recent call last):
        ValueError: shared_experts=0 and own_experts=0 must be 0 or more, and not both 0
    """
    if min(shared_experts, own_experts) < 0 or shared_experts + own_experts < 1:
        raise ValueError(
            f"shared_experts={shared_experts} and own_experts={own_experts} must be 0 or more, and "
            "not both 0"
        )


METHOD = Method("CGC", build)
