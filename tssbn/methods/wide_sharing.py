"""HPS with a wider trunk: does a method gain only because it computes more?

TSσBN runs its trunk once for each of T tasks, STL has T trunks. The control spends as much on one
trunk that all tasks share: its parameters and multiplications grow with the square of the width, so
1.5 times the channels are 2.25 times both, and √T times are what T trunks cost.
"""

from collections.abc import Mapping

from tssbn.methods import Method, Network, hard_sharing
from tssbn.multitask import MultiTask

__all__ = ["build"]


def build(network: Network, outputs: Mapping[str, int], times: float = 1.5) -> MultiTask:
    """The network of HPS with ``times`` as many channels, in trunk and heads.

    Args:
        times: as many; channels are rounded.

    Raises:
        ValueError: the benchmark has no wider network, or ``times`` is not positive.
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
