"""M³ViT: in every other block, experts replace the MLP, and each task has its own router.

(Liang et al., NeurIPS 2022, arXiv 2210.14793.) Blocks 2, 4, ... of a transformer have E experts in
place of their perceptron. The router of task t sends each token to the k experts of the largest
p = softmax(W_t x), and

    y = Σ_{e among the k largest} p_e Expert_e(x)

where the p stay as they are and sum to less than 1. All tasks share the experts; each makes a pass
of its own, and their tokens reach the experts together. A penalty draws each router of each task to
even use: with importance, the sum of the p that an expert is used with, and load, the number of its
tokens (which has no gradient), it is λ (cv²(importance) + cv²(load)), summed over the routers.

No weights of trained experts are published. Here the experts start from slices of the trunk's own
perceptrons, enlarged by E: a token that goes to each slice once, with even weights, gets what the
perceptron gave. Heads and recipe are the benchmark's. Of the published code the noise on the logits
is left out, which its command sets to 0, and so is a fusion of features across tasks that is in use
while training alone. The paper also has a single router, which reads an embedding of the task.
"""

from collections.abc import Mapping

from torch import Tensor

from tssbn.methods import Method, Network, heads
from tssbn.mixtures.experts import Mixture, MLPExperts
from tssbn.mixtures.network import MixtureNetwork
from tssbn.mixtures.penalties import unevenness
from tssbn.mixtures.routing import Router, Routes
from tssbn.tasks import Tasks

__all__ = ["build", "measure"]


def measure(routes: Routes) -> Tensor:
    """Compute cv²(importance) + cv²(load) of a router, summed over the tasks.

    Example:
        >>> import torch
        >>> one_expert = torch.tensor([0.5, 0.0]).expand(1, 1, 7, 2)  # 7 tokens of one task
        >>> measure(Routes(one_expert, one_expert))
        tensor(4.)
    """
    importance = routes.weights.sum((0, 2))
    load = (routes.weights > 0).to(importance).sum((0, 2))
    return (unevenness(importance) + unevenness(load)).sum()


def build(
    network: Network,
    outputs: Mapping[str, int],
    experts: int = 16,
    top: int = 4,
    evenness: float = 0.01,
) -> MixtureNetwork:
    """Put experts into every other block of the trunk.

    Args:
        experts: E.
        top: k; an expert has a k-th of the hidden channels of the perceptron whose place it takes.
        evenness: λ.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk has no transformer blocks.
        ValueError: There are fewer experts than are chosen, or none is; the hidden channels cannot
            be cut into k slices; or λ is negative.
    """
    from tssbn.networks.blocks import blocks  # needs timm

    check_number("experts", experts, top)
    check_weight("evenness", evenness)
    trunk, tasks = network.trunk(), Tasks(outputs)
    for block in list(blocks(trunk).values())[1::2]:
        router = Router(block.mlp.fc1.in_features, experts, top, tasks)
        block.mlp = Mixture(router, MLPExperts.sliced(block.mlp, experts, top))
    return MixtureNetwork(trunk, heads(network, outputs), measure, evenness)


def check_number(name: str, experts: int, top: int) -> None:
    """Refuse to choose none, or more experts than there are."""
    if not 1 <= top <= experts:
        raise ValueError(
            f"{name}={experts}, of which {top} are chosen: choose at least one of them"
        )


def check_weight(name: str, value: float) -> None:
    """Refuse a negative weight of a penalty."""
    if not value >= 0:
        raise ValueError(f"{name}={value} must be 0 or more")


METHOD = Method("M³ViT", build)
