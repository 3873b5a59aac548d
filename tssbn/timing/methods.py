"""Methods side by side: what a step of each takes, on the same machine in the same minutes."""

from collections.abc import Iterable, Mapping

import torch

from tssbn.methods import Network, find_method
from tssbn.timing.rounds import time_relative
from tssbn.timing.strategies import Setting, TimedStep

__all__ = ["time_methods"]


def time_methods(
    network: Network,
    outputs: Mapping[str, int],
    methods: Iterable[str],
    batch: int = 64,
    rounds: int = 10,
) -> dict[str, float]:
    """Time a forward and a backward pass of all tasks, relative to the first method.

    Rounds are interleaved, so that whatever else the machine does meets all alike; the median of
    the ratios over the rounds counts.

    Args:
        network: what the methods build from.
        outputs: the channels of each task.
        methods: by name, with their own options.
        batch: how many inputs, random ones of the shape of the network's example.
        rounds: how often each is timed.

    Example:
        >>> from torch import nn
        >>> network = Network(lambda: nn.Linear(4, 8), lambda n: nn.Linear(8, n), torch.rand(2, 4))
        >>> found = time_methods(network, {"a": 1, "b": 2}, ["hps", "stl"], rounds=1)
        >>> list(found), found["hps"]
        (['hps', 'stl'], 1.0)
    """
    inputs = torch.rand(batch, *network.example.shape[1:])
    steps = {
        name: TimedStep(find_method(name).build(network, outputs), inputs, Setting())
        for name in methods
    }
    return time_relative(steps, rounds)
