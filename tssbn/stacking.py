"""Rows of a stacked batch: every image once for each task, image by image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

__all__ = ["count_images", "count_writes", "split", "stack", "tensors"]

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)


def tensors(tree: Any) -> list[Tensor]:
    """Collect the tensors in a tree of tuples, lists and dicts."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def count_images(tree: Any) -> int:
    """Count the rows of a batch; an error unless every tensor but scalars has as many."""
    for leaf in tree_leaves(tree):
        if not isinstance(leaf, (Tensor, *PLAIN)):
            raise ValueError(
                f"a {type(leaf).__name__} in the input cannot be stacked: pass a tensor, or a "
                "tuple, list or dict of them, or run one task a pass (tasks_per_pass=1)"
            )
    lengths = [leaf.shape[0] for leaf in tensors(tree) if leaf.ndim]
    if not lengths:
        raise ValueError("the network was called without a tensor to stack")
    if other := [length for length in lengths if length != lengths[0]]:
        raise ValueError(
            f"inputs of {lengths[0]} and {other[0]} rows cannot be stacked: "
            "every tensor needs one row an image (or run one task a pass, tasks_per_pass=1)"
        )
    return lengths[0]


def stack(tree: Any, times: int) -> Any:
    """Repeat every image once for each task, in all tensors: (B, ...) -> (B·t, ...)."""

    def repeated(x: Any) -> Any:
        return x.repeat_interleave(times, 0) if isinstance(x, Tensor) and x.ndim else x

    return tree_map(repeated, tree)


def split(tree: Any, images: int, times: int) -> list[Any]:
    """Take apart what a trunk made of the rows of each task: (B·t, ...) -> t times (B, ...)."""
    if not tensors(tree):
        raise ValueError(
            f"the trunk returned a {type(tree).__name__} in which no tensor is found: return a "
            "tensor, or a tuple, list or dict of them, or run one task a pass (tasks_per_pass=1)"
        )

    def parts(x: Any) -> list[Any]:
        if not isinstance(x, Tensor) or not x.ndim:
            return [x] * times
        if x.shape[0] != images * times:
            raise RuntimeError(
                f"the trunk returned a tensor of {x.shape[0]} rows, not images x tasks = "
                f"{images} x {times}: its output must keep the batch in dimension 0"
            )
        # Copies, for a head may write in place; and not by indexing, whose backward pass would
        # add up t gradients of the stacked size.
        each = x.unflatten(0, (images, times)).unbind(1)
        return [rows.clone(memory_format=torch.contiguous_format) for rows in each]

    leaves, form = tree_flatten(tree)
    return [tree_unflatten(row, form) for row in zip(*map(parts, leaves), strict=True)]


def count_writes(tree: Any) -> list[int]:
    """Tell how often each tensor was written to; nothing where PyTorch does not count.

    Example:
        >>> x = torch.zeros(2)
        >>> _ = x.add_(1)
        >>> count_writes({"x": x})
        [1]
    """
    if torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return []
    return [value._version for value in tensors(tree) if not value.is_inference()]
