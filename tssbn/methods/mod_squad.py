"""Mod-Squad: experts in the attention or the MLP of every block, which the tasks divide up.

(Chen et al., CVPR 2023, arXiv 2212.08066; the small model of its code.) Blocks 1, 3, ... have
attention experts: each token chooses experts, whose query and output matrices are its heads, while
all heads have the same keys and values; the MLP of these blocks is dense. Blocks 2, 4, ... have a
mixture of MLPs, and a dense attention with heads of the same width. Task t has

* a router at each mixture, p = softmax(W_t x) + 10⁻⁴ with W_t = 0 at the start, where the k largest
  p are the weights of the chosen experts;
* an embedding, which is added to all its tokens before each block.

Each task makes a pass. The penalty maximises the mutual information of tasks and experts at each
router, so that a task uses few experts, and different tasks use different ones:

    penalty = -λ Σ_routers Σ_t,e P(t, e) log(P(t, e) / (P(t) P(e))),    P(t, e) ~ Σ_tokens of t p_e

where the sums contain all tasks of a step. At the start all p are equal, the choice among them is
arbitrary, and the penalty and its gradient are 0; the losses of the tasks break the symmetry.

Norm layers, embeddings and dense MLPs keep the weights of the trunk. All attention layers and the
experts start anew, the experts uniform within ±1/n for n inputs. The published code adds 10⁻⁴
inside the logarithm, which positive p do not need. It has neither weights nor a recipe for
PASCAL-Context.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tssbn.methods import Method, Network, heads
from tssbn.methods.m3vit import check_number, check_weight
from tssbn.mixtures.attention import AttentionExperts, WideAttention
from tssbn.mixtures.experts import Mixture, MLPExperts
from tssbn.mixtures.network import MixtureNetwork
from tssbn.mixtures.penalties import mutual_information
from tssbn.mixtures.routing import Router, Routes
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskEmbedding", "build", "measure"]

FLOOR = 1e-4  # added to the probabilities


class TaskEmbedding(TaskSpecific):
    """A trained vector of each task that is added to every token; drawn from N(0, 1).

    Args:
        width: channels of a token.
        tasks: the tasks of the network.

    Shape: (B·t, N, width) -> the same.

    Example:
        >>> TaskEmbedding(8, Tasks(("seg",)))(torch.zeros(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    per_task = ("embedding",)

    def __init__(self, width: int, tasks: Tasks):
        super().__init__()
        self.tasks = tasks
        self.embedding = nn.Parameter(torch.randn(len(tasks.names), width))

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(self.unstack(x) + self.rows(self.embedding)[:, None])


def measure(routes: Routes) -> Tensor:
    """Compute minus the mutual information of tasks and experts at a router.

    Args:
        routes: the routes of the router in a pass of all tasks.

    Example:
        >>> apart = torch.eye(2).expand(3, 4, 2, 2).transpose(1, 2)  # task 0 uses expert 0 alone
        >>> measure(Routes(apart, apart)) / torch.tensor(2.0).log()
        tensor(-1.)
    """
    return -mutual_information(routes.probabilities.sum((0, 2)))


def build(
    network: Network,
    outputs: Mapping[str, int],
    attention_experts: int = 15,
    experts: int = 16,
    top: int = 4,
    information: float = 0.005,
) -> MixtureNetwork:
    """Build a trunk with experts in all blocks and task embeddings before them, and the heads.

    A token chooses as many attention experts as the trunk's attention has heads. All heads are
    twice as wide as the trunk's.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        attention_experts: number of experts in the attention of blocks 1, 3, ...
        experts: number of MLPs in blocks 2, 4, ...
        top: the number k of MLPs for each token. Each has 1/k of the hidden channels of the MLP
            that they replace.
        information: the weight λ of the penalty.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk has no blocks of a ViT.
        ValueError: more experts are chosen than there are, or none, or `information` is negative.

    Example:
        >>> from tssbn.networks.vit import FusedViT, ViT
        >>> def trunk():
        ...     return FusedViT(ViT((32, 32), width=24, depth=2, heads=2, taps=(2,)), width=6)
        >>> network = Network(trunk, lambda n: nn.Conv2d(6, n, 1), torch.zeros(2, 3, 32, 32))
        >>> net = build(network, {"seg": 3, "depth": 1}, attention_experts=3, experts=4, top=2)
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 3, 32, 32)).items()}
        {'seg': (2, 3, 2, 2), 'depth': (2, 1, 2, 2)}
    """
    from tssbn.networks.blocks import blocks  # needs timm

    check_number("experts", experts, top)
    check_weight("information", information)
    trunk, tasks = network.trunk(), Tasks(outputs)
    found = blocks(trunk)
    if any(hasattr(block.attn, "window_size") for block in found.values()):
        raise UnsuitableTrunk(
            f"Mod-Squad's attention is that of a ViT, a trunk of type {type(trunk).__name__} "
            "has windows"
        )
    first, *_ = found.values()
    width = first.mlp.fc1.in_features
    embedding = TaskEmbedding(width, tasks)
    for place, (name, block) in enumerate(found.items()):
        trunk.set_submodule(name, nn.Sequential(embedding, block))
        chosen = block.attn.num_heads
        of_head = 2 * width // chosen
        if place % 2:
            block.attn = WideAttention(width, chosen, of_head)
            router = _router(width, experts, top, tasks)
            hidden = block.mlp.fc1.out_features // top
            block.mlp = Mixture(router, MLPExperts(experts, width, hidden, block.mlp.act))
        else:
            check_number("attention_experts", attention_experts, chosen)
            router = _router(width, attention_experts, chosen, tasks)
            block.attn = AttentionExperts(router, attention_experts, width, of_head)
    return MixtureNetwork(trunk, heads(network, outputs), measure, information)


def _router(width: int, experts: int, top: int, tasks: Tasks) -> Router:
    router = Router(width, experts, top, tasks, FLOOR)
    nn.init.zeros_(router.weight)
    return router


METHOD = Method("Mod-Squad", build)
