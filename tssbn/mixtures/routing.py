"""Routers: which experts a token goes to, and with what weights."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["Router", "Routes", "keep_top"]


class Routes(NamedTuple):
    """How the running tasks spread their N tokens over E experts.

    Attributes:
        probabilities: (B, t, N, E), of all experts.
        weights: the same, with 0 for the experts that were not chosen.
    """

    probabilities: Tensor
    weights: Tensor


def keep_top(probabilities: Tensor, top: int) -> Tensor:
    """Set all but the largest to 0; the others stay, and no longer sum to 1.

    Example:
        >>> keep_top(torch.tensor([0.5, 0.1, 0.4]), top=2)
        tensor([0.5000, 0.0000, 0.4000])
    """
    values, places = probabilities.topk(top, -1)
    return torch.zeros_like(probabilities).scatter(-1, places, values)


class Routed(TaskSpecific):
    """A router of each task, which remembers how it routed in the last pass.

    Attributes:
        routes: of the last pass, with its graph; copies have none.
    """

    routes: Routes | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "routes": None}  # a graph cannot be copied


class Router(Routed):
    """Sends each token to the experts of the largest probabilities.

    The logits are linear in the token, ``p = softmax(W_t x) + floor``, and the largest p are the
    weights as they are: they are not scaled to sum to 1. Starts as a linear layer of PyTorch.

    Args:
        width: channels of a token.
        experts: how many there are.
        top: how many of them a token is sent to.
        tasks: those of the network; each has a W of its own.
        floor: is added to every probability.

    Shape: (B·t, ..., width) -> weights and places of experts, (B·t, N, top) each.

    Example:
        >>> import tssbn
        >>> router = Router(8, experts=4, top=2, tasks=tssbn.Tasks(("seg", "depth")))
        >>> with tssbn.select(router, "depth"):
        ...     weights, places = router(torch.rand(3, 5, 8))
        >>> weights.shape, places.shape
        (torch.Size([3, 5, 2]), torch.Size([3, 5, 2]))
    """

    per_task = ("weight",)

    def __init__(self, width: int, experts: int, top: int, tasks: Tasks, floor: float = 0.0):
        super().__init__()
        self.tasks, self.top, self.floor = tasks, top, floor
        self.weight = nn.Parameter(torch.empty(len(tasks.names), experts, width))
        nn.init.uniform_(self.weight, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.unstack(x).flatten(2, -2)
        logits = torch.einsum("btnd,ted->btne", x, self.rows(self.weight))
        probabilities = logits.softmax(-1) + self.floor
        weights, places = probabilities.topk(self.top, -1)
        chosen = torch.zeros_like(probabilities).scatter(-1, places, weights)
        self.routes = Routes(probabilities, chosen)
        return self.stack(weights), self.stack(places)

    def extra_repr(self) -> str:
        _, experts, width = self.weight.shape
        return f"{width}, experts={experts}, top={self.top}, {super().extra_repr()}"
