"""Routers, which choose the experts of a token and their weights."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["Router", "Routes", "keep_top"]


class Routes(NamedTuple):
    """The probabilities and weights with which tokens were routed in a pass.

    Attributes:
        probabilities: (B, t, N, E), for N tokens of each image and E experts.
        weights: the same, with 0 for the experts that were not chosen.

    Example:
        >>> probabilities = torch.tensor([0.5, 0.1, 0.4]).expand(2, 3, 7, 3)
        >>> Routes(probabilities, keep_top(probabilities, top=2)).weights.count_nonzero(3).max()
        tensor(2)
    """

    probabilities: Tensor
    weights: Tensor


def keep_top(probabilities: Tensor, top: int) -> Tensor:
    """Keep the largest probabilities and set the others to 0, without scaling them to sum to 1.

    Args:
        probabilities: (..., E).
        top: number of probabilities that are kept.

    Returns:
        (..., E).

    Example:
        >>> keep_top(torch.tensor([0.5, 0.1, 0.4]), top=2)
        tensor([0.5000, 0.0000, 0.4000])
    """
    values, places = probabilities.topk(top, -1)
    return torch.zeros_like(probabilities).scatter(-1, places, values)


class Routed(TaskSpecific):
    """The base class of routers, which keep the routes of the last pass for the penalty.

    Attributes:
        routes: the routes of the last pass, with their graph; None in copies.
    """

    routes: Routes | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "routes": None}  # a graph cannot be copied


class Router(Routed):
    """A linear router for each task, which sends a token to the experts with the largest p.

    With ``p = softmax(W_t x) + floor``, the largest p are the weights of the chosen experts; they
    are not scaled to sum to 1. W is initialised as a linear layer of PyTorch.

    Args:
        width: channels of a token.
        experts: number of experts.
        top: number of experts for each token.
        tasks: the tasks of the network; each has a matrix W.
        floor: a constant that is added to every probability.

    Shape: (B·t, ..., width) -> the weights and the numbers of the experts, (B·t, N, top) each, for
    N tokens of each image.

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
