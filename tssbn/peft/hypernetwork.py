"""Adapters whose weights are generated from an embedding of the task.

A hypernetwork maps a task's embedding z_t to a code h_t, and generators, which are linear in the
code, compute the weights of an adapter (Karimi Mahabadi et al., arXiv 2106.04489). They run once in
every pass, for the tasks of the pass.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["Code", "Factors", "GeneratedAdapter", "Generator", "TaskEmbedding"]

STD = 0.01  # of initial weights, as in HyperFormer's code


class TaskEmbedding(TaskSpecific):
    """A trained vector z_t for each task, drawn from N(0, 1).

    Args:
        width: length of a vector.
        tasks: the tasks of the network.

    Shape: no input -> (t, width), the vectors of the tasks of the pass.

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
        return self.rows(self.vectors).clone()  # PyTorch's FLOP counter rejects views of parameters


class Code(nn.Module):
    """The codes h_t of the tasks, computed from their embeddings by two linear layers and a ReLU.

    Args:
        embedding: returns the embeddings (t, inputs), such as :class:`TaskEmbedding`.
        inputs: length of an embedding.
        hidden: width between the layers.
        width: length of a code.

    Shape: no input -> (t, width).

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
    """A linear map, with a bias, from the code of a task to a tensor of any shape.

    Weights are drawn from N(0, 0.01²), and the bias starts at 0.

    Args:
        code: length of a code.
        shape: of the tensor.

    Shape: (t, code) -> (t, ...), where ... is the shape of the tensor.

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
    """A generator of a matrix for each task as the product of two generated factors.

    The biases of the two generators are drawn so that the entries of the product start with the
    variance of a linear layer's weights, whatever the inner width.

    Args:
        code: length of a code.
        rows: rows of the matrix.
        columns: columns of the matrix.
        inner: columns of the left factor; with 0 columns the matrix is 0.

    Shape: (t, code) -> (t, rows, columns).

    Example:
        >>> Factors(4, 8, 3, inner=2)(torch.rand(5, 4)).shape
        torch.Size([5, 8, 3])
    """

    def __init__(self, code: int, rows: int, columns: int, inner: int):
        super().__init__()
        self.left = Generator(code, rows, inner)
        self.right = Generator(code, inner, columns)
        # An entry sums `inner` products of factors with variances 1 / inner and 1 / (3 columns), so
        # its variance is 1 / (3 columns), that of a weight of nn.Linear.
        nn.init.uniform_(self.left.bias, -1, 1).data.mul_((3 / max(inner, 1)) ** 0.5)
        nn.init.uniform_(self.right.bias, -1, 1).data.mul_(columns**-0.5)

    def forward(self, codes: Tensor) -> Tensor:
        return self.left(codes) @ self.right(codes)


class GeneratedAdapter(TaskSpecific):
    """A bottleneck adapter for each task, with weights generated from the task's code.

        y = x + n_t(U_t GELU(D_t x + c_t) + e_t)

    where n_t is the identity, or a LayerNorm whose scale and shift are generated as well. With
    ``norm=True`` and ``inner=None`` this is the adapter of HyperFormer (Karimi Mahabadi et al.,
    arXiv 2106.04489).

    Args:
        code: returns the codes of the tasks of the pass, (t, size), such as :class:`Code`.
        size: length of a code.
        width: channels of x.
        bottleneck: rows of D.
        tasks: the tasks of the network.
        inner: inner width of the :class:`Factors` that generate D and U; the adapter then starts
            as the identity. None generates each matrix as a whole.
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
    """Apply a matrix and a bias of each task to x, (B, t, tokens, inputs)."""
    return torch.einsum("btni,toi->btno", x, matrix) + bias.unsqueeze(1)
