"""HPS with a wider trunk, to measure whether a method gains only because it computes more.

TSσBN runs its trunk once for each of T tasks, and STL has T trunks. This control spends as much
computation on one trunk that all tasks share. Its parameters and multiplications grow with the
square of the width: 1.5 times the channels need 2.25 times as many, and √T times the channels cost
as much as T trunks.
"""

from collections.abc import Mapping

from tssbn.methods import Method, Network, hard_sharing
from tssbn.multitask import MultiTask

__all__ = ["build"]


def build(network: Network, outputs: Mapping[str, int], times: float = 1.5) -> MultiTask:
    """Build the network of HPS with more channels in trunk and heads.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        times: factor of the numbers of channels, which are rounded.

    Raises:
        ValueError: the benchmark has no wider network, or `times` is not positive.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from dataclasses import replace
        >>> def wide(times):
        ...     width = round(2 * times)
        ...     return Network(lambda: nn.Linear(4, width), lambda n: nn.Linear(width, n), example)
        >>> example = torch.zeros(2, 4)
        >>> build(replace(wide(1.0), wider=wide), {"seg": 3}, times=1.5).trunk
        Linear(in_features=4, out_features=3, bias=True)
    """
    if not times > 0:
        raise ValueError(f"times={times} must be positive")
    if network.wider is None:
        raise ValueError(
            "this benchmark has no wider network: give its Network a function wider(times), which "
            "makes it with so many times the channels"
        )
    return hard_sharing.build(network.wider(times), outputs)


METHOD = Method("HPS, wider", build, color="orange")
