"""Visual prompts, which are trained tokens of each task beside those of an image."""

import torch
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskPrompts"]


class TaskPrompts(TaskSpecific):
    """Trained tokens for each task, to concatenate with the tokens of each image.

    They are drawn uniformly from ±`bound`. Jia et al. (arXiv 2203.12119) take the bound
    √(6 / (3p² + d)), that of a Glorot-uniform patch embedding with patches of p² pixels and d
    channels.

    Args:
        count: number of tokens; 0 is allowed.
        width: channels of a token.
        tasks: the tasks of the network.
        bound: the bound of the initial values.

    Shape: features (B·t, ...) -> the features, and tokens (B·t, count, width). Features that are
    still common to the tasks, (B, ...), become (B·t, ...).

    Raises:
        ValueError: `count` is negative.

    Example:
        >>> import tssbn
        >>> prompts = TaskPrompts(5, 8, tssbn.Tasks(("seg", "depth")), bound=0.1)
        >>> with tssbn.select(prompts, "seg"):
        ...     features, tokens = prompts(torch.zeros(3, 16, 8))
        >>> tokens.shape
        torch.Size([3, 5, 8])
    """

    per_task = ("tokens",)

    def __init__(self, count: int, width: int, tasks: Tasks, bound: float):
        super().__init__()
        if count < 0:
            raise ValueError(f"count={count} must be 0 or more")
        self.tasks = tasks
        self.tokens = nn.Parameter(torch.empty(len(tasks.names), count, width))
        nn.init.uniform_(self.tokens, -bound, bound)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, tokens = self.unstack(x), self.rows(self.tokens)
        return self.stack(x), self.stack(tokens.expand(x.shape[0], *tokens.shape))

    def extra_repr(self) -> str:
        _, count, width = self.tokens.shape
        return f"{count}, {width}, {super().extra_repr()}"
