"""Adapters whose weights are generated from an embedding of the task.

A hypernetwork turns a task's embedding z_t into a code h_t, and generators that are linear in the
code give the weights of an adapter. They run once in every pass, for the tasks that run.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["Code", "Factors", "GeneratedAdapter", "Generator", "TaskEmbedding"]

STD = 0.01  # of weights at the start, as in hyperformer's code


class TaskEmbedding(TaskSpecific):
    """A vector z_t for each task, drawn from N(0, 1).

    Args:
        width: of a vector.
        tasks: of the network.

    Shape: nothing -> (t, width), the rows of the tasks that run.

    Example:
        >>> TaskEmbedding(16, Tasks(("depth",)))().shape
        torch.Size([1, 16])
    """

    per_task = ("vectors",)

    def __init__(self, width: int, tasks: Tasks):
        super().__init__()
        self.tasks = tasks
        self.vectors = nn.Parameter(torch.randn(len(tasks.names), width))

    def forward(self) -> Tensor:
        return self.rows(self.vectors).clone()  # PyTorch's counter takes no view of a parameter


class Code(nn.Module):
    """A projection of the tasks' embeddings: linear layer, ReLU, linear layer.

    Args:
        embedding: gives (t, inputs), as :class:`TaskEmbedding`.
        inputs: width of an embedding.
        hidden: width between the layers.
        width: of a code.

    Shape: nothing -> (t, width).

    Example:
        >>> Code(TaskEmbedding(16, Tasks(("depth",))), 16, hidden=8, width=4)().shape
        torch.Size([1, 4])
    """

    def __init__(self, embedding: nn.Module, inputs: int, hidden: int, width: int):
        super().__init__()
        self.embedding = embedding
        self.project = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, width))
        for layer in self.project[::2]:
            nn.init.normal_(layer.weight, std=STD)
            nn.init.zeros_(layer.bias)

    def forward(self) -> Tensor:
        return self.project(self.embedding())


class Generator(nn.Module):
    """A tensor for each task that is linear in its code, with a bias.

    At the start weights are drawn from N(0, 0.01²), and the bias is 0.

    Args:
        code: width of a code.
        shape: of the tensor.

    Shape: (t, code) -> (t, ...), with the tensor's shape behind t.

    Example:
        >>> Generator(4, 8, 3)(torch.rand(2, 4)).shape
        torch.Size([2, 8, 3])
    """

    def __init__(self, code: int, *shape: int):
        super().__init__()
        self.weight = nn.Parameter(STD * torch.randn(code, *shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, codes: Tensor) -> Tensor:
        return torch.tensordot(codes, self.weight, 1) + self.bias

    def extra_repr(self) -> str:
        return f"code={self.weight.shape[0]}, shape={tuple(self.bias.shape)}"


class Factors(nn.Module):
    """Generate a matrix for each task as the product of two factors.

    The biases of the generators start such that the product starts like the weights of a linear
    layer, whatever the inner width.

    Args:
        code: width of a code.
        rows: of the matrix.
        columns: of the matrix.
        inner: columns of the left factor; with 0 of them the matrix is 0.

    Shape: (t, code) -> (t, rows, columns).

    Example:
        >>> Factors(4, 8, 3, inner=2)(torch.rand(5, 4)).shape
        torch.Size([5, 8, 3])
    """

    def __init__(self, code: int, rows: int, columns: int, inner: int):
        super().__init__()
        self.left = Generator(code, rows, inner)
        self.right = Generator(code, inner, columns)
        # The variance of an entry is inner · (1 / inner) · (1 / 3 columns), that of nn.Linear.
        nn.init.uniform_(self.left.bias, -1, 1).data.mul_((3 / max(inner, 1)) ** 0.5)
        nn.init.uniform_(self.right.bias, -1, 1).data.mul_(columns**-0.5)

    def forward(self, codes: Tensor) -> Tensor:
        return self.left(codes) @ self.right(codes)


class GeneratedAdapter(TaskSpecific):
    """A bottleneck adapter for each task, with weights generated from the task's code.

        z = x + n_t(U_t GELU(D_t x + c_t) + e_t)

    where n_t is nothing, or a LayerNorm whose scale and shift are generated as well.

    Args:
        code: gives the codes of the running tasks, (t, size), such as :class:`Code`.
        size: of a code.
        width: of what is adapted.
        bottleneck: rows of D.
        tasks: of the network.
        inner: generates D and U as two :class:`Factors` of this inner width, and starts as the
            identity; None generates each as a whole.
        norm: whether there is a LayerNorm.

    Shape: (B·t, ..., width) -> the same; windows of an image as in :class:`tssbn.TaskSpecific`.

    Example:
        >>> tasks = Tasks(("depth",))
        >>> adapter = GeneratedAdapter(TaskEmbedding(5, tasks), 5, 8, bottleneck=2, tasks=tasks)
        >>> adapter(torch.rand(3, 7, 8)).shape
        torch.Size([3, 7, 8])
    """

    def __init__(
        self,
        code: nn.Module,
        size: int,
        width: int,
        bottleneck: int,
        tasks: Tasks,
        inner: int | None = None,
        norm: bool = False,
    ):
        super().__init__()
        self.tasks, self.code, self.norm = tasks, code, norm
        if inner is None:
            self.down = Generator(size, bottleneck, width)
            self.up = Generator(size, width, bottleneck)
        else:
            self.down = Factors(size, bottleneck, width, inner)
            self.up = Factors(size, width, bottleneck, inner)
        self.down_bias, self.up_bias = Generator(size, bottleneck), Generator(size, width)
        if inner is not None:
            for start in (*self.up.left.parameters(), *self.up_bias.parameters()):
                nn.init.zeros_(start)
        if norm:
            self.scale, self.shift = Generator(size, width), Generator(size, width)

    def forward(self, x: Tensor) -> Tensor:
        codes = self.code()
        y = self.unstack(x)
        shape = y.shape
        y = y.reshape(*shape[:2], -1, shape[-1])  # (B, t, tokens, width)
        y = _affine(y, self.down(codes), self.down_bias(codes))
        y = _affine(F.gelu(y), self.up(codes), self.up_bias(codes))
        if self.norm:
            y = F.layer_norm(y, y.shape[-1:])
            y = y * self.scale(codes).unsqueeze(1) + self.shift(codes).unsqueeze(1)
        return x + self.stack(y.reshape(shape))


def _affine(x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
    """(B, t, tokens, inputs) -> (B, t, tokens, outputs), with a matrix and a bias of each task."""
    return torch.einsum("btni,toi->btno", x, matrix) + bias.unsqueeze(1)
