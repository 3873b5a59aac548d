"""Times of a step of several methods, measured in turn on the same machine."""

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

    The methods run in turn in each round, so that other work of the machine affects all alike. The
    result is the median over the rounds of the ratio within a round.

    Args:
        network: trunk and heads, from which the methods build.
        outputs: channels of each task's prediction.
        methods: names of the methods, which have their default options.
        batch: number of random inputs with the shape of the network's example.
        rounds: number of rounds.

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
