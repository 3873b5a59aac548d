"""Mod-Squad: attention and MLP of every block are experts, which the tasks divide among them.

(Chen et al., CVPR 2023, arXiv 2212.08066; the small model of its code.) Blocks 1, 3, ... have
attention experts: each token chooses the experts whose queries and outputs are its heads, while
keys and values are the same for all; their perceptron is dense. Blocks 2, 4, ... have a mixture of
perceptrons, and a dense attention of equally wide heads. Task t has

* a router at each mixture, p = softmax(W_t x) + 10⁻⁴ with W_t = 0 at the start; the k largest p
  weigh the chosen experts as they are;
* an embedding, which is added to all its tokens before each block.

Each task makes a pass of its own. What is maximised at each router is the mutual information of
tasks and experts, so that a task comes to use few experts, and different tasks different ones:

    penalty = -λ Σ_routers Σ_t,e P(t, e) log(P(t, e) / (P(t) P(e))),    P(t, e) ~ Σ_tokens of t p_e

It is of all tasks of a step. At the start all p are equal, which expert is chosen among equals is
arbitrary, and the penalty and its gradient are 0: the losses of the tasks break the symmetry.

Of the trunk, norm layers, embeddings and the dense perceptrons stay, with the weights that they
have; all attention and the experts start anew, experts uniform within ±1/inputs. The published code
adds 10⁻⁴ inside the logarithm, which positive p do not need, and has no weights and recipe for
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

FLOOR = 1e-4  # under the probabilities


class TaskEmbedding(TaskSpecific):
    """Adds a vector of the task to every token; starts from N(0, 1).

    Args:
        width: channels of a token.
        tasks: those of the network.

    Shape: (B·t, N, width) -> the same.
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
    """Put experts into all blocks of the trunk, and an embedding of the task before them.

    A token chooses as many attention experts as the trunk's attention has heads; all heads are
    twice as wide as those.

    Args:
        attention_experts: how many, in blocks 1, 3, ...
        experts: how many perceptrons, in blocks 2, 4, ...
        top: how many of these a token is sent to; one has a k-th of the hidden channels.
        information: λ.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: The trunk has no blocks of a ViT.
        ValueError: There are fewer experts than are chosen, or none is; the hidden channels cannot
            be cut into so many parts; or λ is negative.
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
