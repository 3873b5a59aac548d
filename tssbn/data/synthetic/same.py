"""What keeps synthetic data the same on every processor, and whatever torch is set to.

All synthetic data keep one promise: with one version of torch they are the same bits on every
processor and for any number of threads. So tensors of floats meet only operations that IEEE 754
rounds correctly (+ - * / and comparisons), one at a time, and what is here. Another version of
torch may draw other random numbers from a seed. So far 2.6, 2.14 and 2.15 draw the same, so that
images and labels are the same bits in all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

__all__ = ["float32_on_cpu", "sqrt"]


def sqrt(x: Tensor) -> Tensor:
    """The square roots of float32 numbers, correctly rounded.

    On CPUs ``torch.sqrt`` asks Intel's MKL, whose float32 roots are wrong in the last place as
    often as in 1 of 5 cases, on other processors in other cases. So may its float64 roots be, but
    no root of a float32 number is so close to the middle between two of them that this matters.

    Example:
        >>> sqrt(torch.tensor([4.0, 2.25]))
        tensor([2.0000, 1.5000])
    """
    return x.double().sqrt_().float()


@contextmanager
def float32_on_cpu() -> Iterator[None]:
    """Within it, torch makes float32 tensors on the CPU, whatever its defaults are.

    Example:
        >>> with torch.device("meta"), float32_on_cpu():
        ...     torch.ones(1)
        tensor([1.])
    """
    dtype = torch.get_default_dtype()
    # This context looks at every call, which makes a room take a fifth longer: not for nothing.
    device = nullcontext() if torch.empty(0).device.type == "cpu" else torch.device("cpu")
    torch.set_default_dtype(torch.float32)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(dtype)
