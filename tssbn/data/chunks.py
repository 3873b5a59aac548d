"""Work in pieces that fit a processor's cache, in parallel threads and with a progress bar."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

__all__ = ["progress", "side_by_side"]

T = TypeVar("T")


def progress(items: Iterable | None, text: str, **options: Any) -> Any:
    """Wrap items in a progress bar, on a terminal and where tqdm is installed.

    Args:
        items: the items; ``None`` for a bar that the caller moves.
        text: text before the bar.
        options: further arguments of ``tqdm``.

    Returns:
        The bar, or the items where tqdm is not installed.

    Example:
        >>> list(progress([1, 2], "counting"))
        [1, 2]
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, text, disable=None, **options)


def side_by_side(function: Callable[..., T], jobs: Iterable[tuple]) -> Iterator[T]:
    """Yield ``function(*job)`` for all jobs in their order, computed in parallel threads.

    There are as many threads as PyTorch uses, and each computes one job at a time. PyTorch's
    threads would instead share every small operation and wait for each other after it, which is
    slow where other programs run. Jobs are taken in order and only when needed, so that their
    iterator may draw random numbers.

    Args:
        function: computes a job.
        jobs: the arguments of each job.

    Example:
        >>> list(side_by_side(torch.add, [(torch.ones(1), 1), (torch.ones(1), 2)]))
        [tensor([2.]), tensor([3.])]
    """
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, "piece", torch.set_num_threads, (1,)) as pool:
            waiting: deque[Future[T]] = deque()
            for job in jobs:
                waiting.append(pool.submit(function, *job))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(threads)  # new threads start with the number that a thread has set
