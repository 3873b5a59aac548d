"""Work in pieces that fit a processor's cache: side by side, with a progress bar."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

__all__ = ["progress", "side_by_side"]

T = TypeVar("T")


def progress(items: Iterable | None, text: str, **options: Any) -> Any:
    """The items, with a progress bar on a terminal where tqdm is installed.

    Args:
        items: what is gone through; ``None`` for a bar that is moved by hand.
        text: stands in front of the bar.
        options: of ``tqdm``.

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
    """``function(*job)`` for the jobs in their order, computed by as many threads as torch uses.

    Each thread has a job of its own. Torch's own threads would share every small operation and
    wait for each other after it, which costs most where other programs run too. Jobs are taken
    one after another, as they are needed: what makes them may draw random numbers.

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
        torch.set_num_threads(threads)  # what one thread sets is what new ones start with
