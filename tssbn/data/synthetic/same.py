"""Functions that give the same bits on every processor, with any settings of torch.

With one version of torch, all synthetic data are the same bits on every processor and for any
number of threads. So they are computed with the operations that IEEE 754 rounds correctly (+ - * /
and comparisons), one at a time, and with the functions of this module. Another version of torch may
draw other random numbers from a seed. Versions 2.6, 2.14 and 2.15 draw the same ones, so images and
labels are the same bits in these.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

__all__ = ["float32_on_cpu", "sqrt"]


def sqrt(x: Tensor) -> Tensor:
    """Compute the square roots of float32 numbers, correctly rounded.

    On CPUs ``torch.sqrt`` calls Intel's MKL. Its float32 roots have a wrong last bit in up to 1 of
    5 cases, and the cases differ between processors. This function takes the root in float64 and
    rounds it to float32. A wrong last bit of the float64 root does not matter, because the root of
    a float32 number is never that close to the middle between two float32 numbers.

    Example:
        >>> sqrt(torch.tensor([4.0, 2.25]))
        tensor([2.0000, 1.5000])
    """
    return x.double().sqrt_().float()


@contextmanager
def float32_on_cpu() -> Iterator[None]:
    """Make float32 and the CPU the defaults of torch for new tensors, within a ``with`` block.

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
