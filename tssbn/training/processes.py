"""Several processes: what they tell one another. One process tells itself nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["all_reduce_mean", "differentiate", "mean_value", "on_rank_zero"]

T = TypeVar("T")

MESSAGE = 2**20  # numbers, 4 MiB of them in 32 bits, after which a message is sent


@torch.no_grad()
def all_reduce_mean(fabric: Fabric, tensors: Iterable[Tensor]) -> None:
    """Make each tensor the mean of the processes', in messages of a few MiB."""
    if fabric.world_size == 1:
        return
    sent = []
    for parts in _messages(tensors):
        flat = torch.cat([part.flatten() for part in parts])
        sent.append((parts, flat, dist.all_reduce(flat, async_op=True)))
    for parts, flat, work in sent:
        work.wait()
        means = flat.div_(fabric.world_size).split([part.numel() for part in parts])
        for part, mean in zip(parts, means, strict=True):
            part.copy_(mean.view_as(part))


def mean_value(fabric: Fabric, tensor: Tensor) -> Tensor:
    """A tensor of the mean value of all processes, whose gradient reaches this process's own.

    With it f(x̄) is differentiated at the mean x̄ in every process; the mean of the processes'
    gradients is then that of f(x̄), also where f is not linear.
    """
    if fabric.world_size == 1:
        return tensor
    mean = tensor.detach().clone()
    all_reduce_mean(fabric, [mean])
    return tensor + (mean - tensor).detach()


def differentiate(
    fabric: Fabric, loss: Tensor, parameters: Sequence[Tensor], create_graph: bool = False
) -> list[Tensor | None]:
    """The gradient of a loss, None where it does not reach; `.grad` and the graph stay.

    What `torch.autograd.grad` gives, which Fabric refuses in mixed precision.

    Args:
        create_graph: Make the result differentiable.

    Example:
        >>> from lightning_fabric import Fabric
        >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> differentiate(Fabric(accelerator="cpu", devices=1), w.square().sum(), [w]), w.grad
        ([tensor([2., 4.])], None)
    """
    before = [p.grad for p in parameters]
    for p in parameters:
        p.grad = None
    with warnings.catch_warnings():  # a gradient with a graph does not stay in .grad
        warnings.filterwarnings("ignore", r"Using backward\(\) with create_graph=True")
        fabric.backward(loss, retain_graph=True, create_graph=create_graph, inputs=parameters)
    found = [p.grad for p in parameters]
    for p, gradient in zip(parameters, before, strict=True):
        p.grad = gradient
    return found


def _messages(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours together; the memory of one large message would be fetched anew every time."""
    parts, size = [], 0
    for tensor in tensors:
        parts.append(tensor)
        size += tensor.numel()
        if size >= MESSAGE:
            yield parts
            parts, size = [], 0
    if parts:
        yield parts


def on_rank_zero(fabric: Fabric, action: Callable[[], T]) -> T | None:
    """Act in the first process alone; where that fails, it fails in all, and none is left waiting.

    Returns:
        In the first process, what the action returned.
    """
    result = error = None
    if fabric.is_global_zero:
        try:
            result = action()
        except Exception as caught:
            error = caught
    error = fabric.broadcast(error)
    if error is not None:
        raise error
    return result
