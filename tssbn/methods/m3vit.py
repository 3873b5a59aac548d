"""M³ViT: in every other block, experts replace the MLP, and each task has a router.

(Liang et al., NeurIPS 2022, arXiv 2210.14793.) Blocks 2, 4, ... of a transformer have E experts in
place of their MLP. The router of task t sends each token to the k experts with the largest
p = softmax(W_t x), and

    y = Σ_{e among the k largest} p_e Expert_e(x)

where the p are not scaled to sum to 1. All tasks share the experts. Each task makes a pass; the
experts process the tokens of all tasks together. A penalty keeps each router's use of the experts
even. With the importance of an expert, the sum of its p, and its load, the number of its tokens
(which has no gradient), it is λ (cv²(importance) + cv²(load)), summed over the routers.

No weights of trained experts are published. Here the experts start from k slices of the trunk's
MLP, multiplied by E. A token that goes to each slice once with weights 1/E gets the output of the
MLP. Heads and recipe are those of the benchmark. Two parts of the published code are left out: the
noise on the logits, which its command sets to 0, and a fusion of features across tasks that is only
used in training. The paper also describes a single router that reads an embedding of the task.
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

    Args:
        routes: the routes of the router in a pass.

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
    """Build a trunk with experts in every other block, and the heads.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        experts: the number E of experts in a block.
        top: the number k of experts for each token. An expert has 1/k of the hidden channels of
            the MLP that it replaces.
        evenness: the weight λ of the penalty.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no transformer blocks of timm.
        ValueError: `top` is not from 1 to `experts`, the hidden channels cannot be cut into `top`
            slices, or `evenness` is negative.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> net = build(network, {"seg": 3, "depth": 1}, experts=4, top=2)
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 3, 32, 32)).items()}
        {'seg': (2, 3, 2, 2), 'depth': (2, 1, 2, 2)}
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
    """Raise an error unless the number of chosen experts is from 1 to that of all experts."""
    if not 1 <= top <= experts:
        raise ValueError(
            f"{name}={experts}, of which {top} are chosen: choose at least one of them"
        )


def check_weight(name: str, value: float) -> None:
    """Raise an error for a negative weight of a penalty."""
    if not value >= 0:
        raise ValueError(f"{name}={value} must be 0 or more")


METHOD = Method("M³ViT", build)
