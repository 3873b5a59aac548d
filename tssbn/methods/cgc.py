"""CGC: each task mixes the features of trunks that all tasks share and of its own trunks.

(Customized gate control; Tang et al., RecSys 2020; for images as in LibMTL's code.) It is MMoE
whose gates see the shared experts and the task's own: with all weight on a shared one it is HPS,
with all on an own one STL. A task's own experts cost a pass each.
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
        shared_experts: how many trunks all tasks read.
        own_experts: how many trunks each task has for itself.
        gate: see :func:`tssbn.methods.mmoe.build`.

    Raises:
        ValueError: a task would have no expert, or there is no such gate.
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
    """Refuse numbers of experts that leave a task without any.

    Raises:
        ValueError: names both.
    """
    if min(shared_experts, own_experts) < 0 or shared_experts + own_experts < 1:
        raise ValueError(
            f"shared_experts={shared_experts} and own_experts={own_experts} must be 0 or more, and "
            "not both 0"
        )


METHOD = Method("CGC", build)
