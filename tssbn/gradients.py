"""Gradients of the tasks at shared parameters, the angles between them, and a penalty on these.

Suteu and Guo, "Regularizing Deep Multi-Task Networks using Orthogonal Gradients",
arXiv 1912.06844.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["cosines", "mean_squared_cosine", "orthogonality", "stack_rows", "task_gradients"]


def task_gradients(
    losses: Mapping[str, Tensor] | Sequence[Tensor],
    parameters: Tensor | Iterable[Tensor],
    create_graph: bool = False,
) -> Tensor:
    """Compute each task's gradient with respect to shared parameters, one row per task.

    Row t is g_t = ∂L_t/∂θ (arXiv 1912.06844, section 3), flattened in the order of `parameters`.
    A parameter that a loss does not depend on contributes zeros. The graph is kept, so you can
    still call `backward` on the losses; `.grad` does not change.

    Args:
        losses: One scalar for each task; the rows have the same order.
        parameters: The shared parameters θ, or one of them.
        create_graph: Make the result differentiable, for a penalty on the gradients.

    Shape:
        - Output: (T, P) for T tasks and P shared numbers.

    Raises:
        ValueError: If there is no loss or no parameter, a loss is not a scalar or has no graph, a
            parameter does not require a gradient, or no loss depends on any of the parameters.

    Example:
        >>> import torch
        >>> from tssbn.gradients import task_gradients
        >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> task_gradients({"sum": w.sum(), "square": w.square().sum()}, w)
        tensor([[1., 1.],
                [2., 4.]])
    """
    named = dict(losses) if isinstance(losses, Mapping) else dict(enumerate(losses))
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not named:
        raise ValueError("losses is empty: give one scalar loss per task")
    if not parameters:
        raise ValueError("parameters is empty: give the parameters that the tasks share")
    for task, loss in named.items():
        if loss.numel() != 1:
            raise ValueError(
                f"losses[{task!r}] has shape {tuple(loss.shape)}: reduce it to a scalar first"
            )
        if not loss.requires_grad:
            raise ValueError(
                f"losses[{task!r}] has no graph: compute it with gradients enabled and undetached"
            )
    for i, parameter in enumerate(parameters):
        if not parameter.requires_grad:
            raise ValueError(f"parameters[{i}] does not require a gradient: unfreeze or drop it")

    gradients = [
        torch.autograd.grad(
            loss, parameters, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
        for loss in named.values()
    ]
    if all(g is None for row in gradients for g in row):
        raise ValueError("none of the losses depends on the parameters: are they of another model?")
    return stack_rows(gradients, parameters)


def stack_rows(
    gradients: Iterable[Sequence[Tensor | None]], parameters: Sequence[Tensor]
) -> Tensor:
    """Flatten each task's gradients into one row and stack the rows; None stands for zeros.

    Shape:
        - Output: (T, P) for T tasks and parameters of P numbers in all

    Example:
        >>> import torch
        >>> from tssbn.gradients import stack_rows
        >>> w, b = torch.zeros(2), torch.zeros(1)
        >>> stack_rows([(torch.ones(2), None), (None, torch.ones(1))], [w, b])
        tensor([[1., 1., 0.],
                [0., 0., 1.]])
    """
    return torch.stack(
        [
            torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).flatten()
                    for p, g in zip(parameters, row, strict=True)
                ]
            )
            for row in gradients
        ]
    )


def cosines(gradients: Tensor) -> Tensor:
    """Compute the cosines between the rows of a matrix, such as that of `task_gradients`.

    cos(g_i, g_j) = g_i·g_j / (‖g_i‖ ‖g_j‖). All cosines of a row of zeros are 0, also the one with
    itself. Each row is scaled to unit maximum first and sums are in float64, so that tiny and huge
    gradients neither underflow nor overflow. NaN gives NaN.

    Shape:
        - gradients: (T, P), floating-point
        - Output: (T, T), symmetric, in [-1, 1], exactly 1 on the diagonal; of the same dtype

    Raises:
        ValueError: If `gradients` is empty, or not a matrix of floating-point numbers.

    Example:
        >>> import torch
        >>> from tssbn.gradients import cosines
        >>> cosines(torch.tensor([[1.0, 0.0], [0.0, 3.0], [-2.0, 0.0]]))
        tensor([[ 1.,  0., -1.],
                [ 0.,  1.,  0.],
                [-1.,  0.,  1.]])
    """
    if gradients.dim() != 2 or 0 in gradients.shape:
        raise ValueError(
            f"gradients has shape {tuple(gradients.shape)}: one row per task is needed, (T, P)"
        )
    if not gradients.is_floating_point():
        raise ValueError(f"gradients is {gradients.dtype}: floating-point numbers are needed")
    return _cosines(gradients).to(gradients)


def _cosines(gradients: Tensor) -> Tensor:
    """The cosines in float64: sums over millions of numbers lose digits in float32."""
    device = "cpu" if gradients.device.type == "mps" else gradients.device  # mps has no float64
    rows = gradients.to(device, torch.float64)
    largest = rows.detach().abs().amax(dim=1, keepdim=True)
    rows = rows / torch.where(largest > 0, largest, 1)
    products = rows @ rows.T
    products = (products + products.T) / 2  # blocks of a matrix product may round differently
    square = products.diagonal()
    norm = torch.where(square > 0, square, 1).sqrt()
    cosine = (products / (norm[:, None] * norm)).clamp(-1, 1)
    return torch.where((square > 0).diag(), 1, cosine)


def orthogonality(
    losses: Mapping[str, Tensor] | Sequence[Tensor], parameters: Tensor | Iterable[Tensor]
) -> Tensor:
    """Compute the CosReg penalty, from 0 (orthogonal task gradients) to 1 (parallel ones).

    It is the mean squared cosine over the pairs of tasks,

        R = ‖ĜᵀĜ - I‖²_F / (T (T - 1)),

    where the columns of Ĝ are the unit gradients ĝ_t (arXiv 1912.06844, equations 4 and 5).
    It penalises agreement and conflict alike. A zero gradient counts as orthogonal to all others.

    Add `alpha * orthogonality(...)` to the sum of the losses and call `backward`, which
    differentiates the gradients again. This costs T more backward passes and a second derivative
    through all layers after the `parameters`; the paper therefore uses the last shared layer only.

    Args:
        losses: One scalar for each task, at least two. Their scales do not matter.
        parameters: The shared parameters, usually `last_shared_layer.weight`.

    Shape:
        - Output: ()

    Raises:
        ValueError: If there are fewer than two losses, or as `task_gradients`.

    Example:
        >>> import torch
        >>> from tssbn.gradients import orthogonality
        >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> penalty = orthogonality([w[0], w[0] + w[1]], w)  # gradients (1, 0) and (1, 1)
        >>> round(penalty.item(), 4)  # cos² of 45 degrees
        0.5
    """
    tasks = len(losses)
    if tasks < 2:
        raise ValueError(f"losses holds {tasks} task(s): an angle needs at least two")
    return mean_squared_cosine(task_gradients(losses, parameters, create_graph=True))


def mean_squared_cosine(gradients: Tensor) -> Tensor:
    """Compute the penalty of `orthogonality` from gradients; the result is differentiable.

    Shape:
        - gradients: (T, P), one row a task, as `task_gradients` returns them
        - Output: ()

    Raises:
        ValueError: If `gradients` is not a matrix of at least two rows.

    Example:
        >>> import torch
        >>> from tssbn.gradients import mean_squared_cosine
        >>> mean_squared_cosine(torch.tensor([[1.0, 0.0], [3.0, 3.0]]))
        tensor(0.5000)
    """
    if gradients.dim() != 2 or len(gradients) < 2:
        raise ValueError(
            f"gradients has shape {tuple(gradients.shape)}: a row for each of at least two tasks "
            "is needed, (T, P)"
        )
    tasks = len(gradients)
    cosine = _cosines(gradients)
    # ĜᵀĜ - I. Subtract the diagonal itself, not I: a zero gradient has 0 there, not 1.
    off_diagonal = cosine - cosine.diag().diag()
    return (off_diagonal.square().sum() / (tasks * (tasks - 1))).to(gradients)
