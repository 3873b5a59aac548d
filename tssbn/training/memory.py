"""Memory: how much a run used at most, and what to do where there is too little."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tssbn.benchmarks.recipe import Recipe

__all__ = ["explain_out_of_memory", "is_out_of_memory", "peak_memory"]


def peak_memory(device: torch.device) -> float | None:
    """MiB in use at most: by tensors of the GPU, data included; else by the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows does not tell
        return None
    used = getrusage(RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, on a GPU or for a tensor on the CPU.

    Example:
        >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("4 rows, 5 labels"))
        (True, False)
    """
    kinds = MemoryError, torch.OutOfMemoryError
    return isinstance(error, kinds) or "DefaultCPUAllocator" in str(error)


@contextmanager
def explain_out_of_memory(recipe: Recipe, balance: str, all_tasks: bool) -> Iterator[None]:
    """Say which settings need less memory, where there is too little.

    Args:
        balance: The name of the balancing.
        all_tasks: Whether it keeps the graphs of all tasks at once.

    Raises:
        MemoryError: Too little memory; says what to change.

    Example:
        >>> with explain_out_of_memory(Recipe(epochs=1, batch=8, lr=0.1), "uw", all_tasks=True):
        ...     raise torch.OutOfMemoryError("tried to allocate 4 GiB")
        Traceback (most recent call last):
        MemoryError: out of memory with batch=8, tasks_per_pass=None, balance=uw. balance=uw keeps
        the graphs of all tasks at once, whatever tasks_per_pass says: balance=sum or pcgrad with
        tasks_per_pass=1 need less; precision 'bf16' halves most activations; a smaller batch is
        another recipe. (tried to allocate 4 GiB)
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if all_tasks:
            passes = (
                f"balance={balance} keeps the graphs of all tasks at once, whatever tasks_per_pass "
                "says: balance=sum or pcgrad with tasks_per_pass=1 need less"
            )
        else:
            passes = (
                "tasks_per_pass=1 needs the least in networks of task-specific layers and learns "
                "the same"
            )
        raise MemoryError(
            f"out of memory with batch={recipe.batch}, tasks_per_pass={recipe.tasks_per_pass}, "
            f"balance={balance}. {passes}; precision 'bf16' halves most activations; a smaller "
            f"batch is another recipe. ({error})"
        ) from error
