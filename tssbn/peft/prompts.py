"""Visual prompts: tokens of each task, which stand beside those of an image."""

import torch
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskPrompts"]


class TaskPrompts(TaskSpecific):
    """Trained tokens for each task, to concatenate with the tokens of each image.

    They start uniform within ±√(6 / (fan + width)), as Glorot's for the convolution that makes the
    image's own tokens. (Jia et al., arXiv 2203.12119.)

    Args:
        count: number of tokens; there may be none.
        width: channels of a token.
        tasks: those of the network.
        bound: they start within ± this.

    Shape: features (B·t, ...) -> these, and tokens (B·t, count, width), of which T sets are kept.
    Where the tasks have not parted yet, they do.

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
