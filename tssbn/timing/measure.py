"""Measurements of all strategies for a network and a number of tasks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from tssbn.records import environment
from tssbn.timing.case import Case
from tssbn.timing.memory import peak_memory
from tssbn.timing.rounds import matmul, time_rounds
from tssbn.training.devices import precision_flags

__all__ = ["measure_strategies"]


def measure_strategies(
    cases: Mapping[str, Case], count: int, memory: bool = True
) -> Iterator[dict[str, Any]]:
    """Measure strategies, and yield the saved entry after every round.

    Args:
        cases: the case of each strategy, including ``"plain"``, all with the same network and
            tasks.
        count: number of rounds.
        memory: whether peak memory is measured as well. Strategies that run out of memory are then
            left out.

    Yields:
        The entry, as :mod:`tssbn.timing.record` describes it; the same dict after every round.

    Raises:
        MemoryError: the memory is too small for the plain backbone, or for all strategies at once.
        ValueError: the network does not accept images of this size.

    Example:
        >>> from torch import nn
        >>> from tssbn.timing.networks import TimedTrunk
        >>> from tssbn.timing.strategies import Setting
        >>> trunk = TimedTrunk(lambda size: nn.BatchNorm2d(3), 4, (8, 8))
        >>> cases = {"plain": Case(trunk, 4, (8, 8), 2, "plain", Setting())}
        >>> [entry] = measure_strategies(cases, count=1, memory=False)
        >>> sorted(entry["seconds"])
        ['matmul', 'plain']
    """
    plain = cases["plain"]
    cell: dict[str, Any] = {"batch": plain.batch, "size": list(plain.size), **environment()}
    cell |= {"memory": {}, "network": {}, "out_of_memory": []}
    if memory:
        one = replace(plain, tasks=1, strategy="sequential")
        for name, case in {"one": one, **cases}.items():
            try:
                cell["memory"][name] = peak_memory(case)
            except MemoryError:
                cell["out_of_memory"].append(name)
    try:
        with precision_flags(plain.setting.precision):
            fit = [name for name in cases if name not in cell["out_of_memory"]]
            steps = {name: cases[name].step() for name in fit}
            if memory:
                held = {"one": one.step(), **steps}
                cell["network"] = {name: step.mebibytes() for name, step in held.items()}
            cell["tasks_a_pass"] = {
                name: max(map(len, step.net.passes())) for name, step in steps.items()
            }
            cell["macs"] = {name: step.macs() for name, step in steps.items()}
            product, cell["matmul"] = matmul(plain.setting.device, plain.setting.precision)
            cell["seconds"] = {name: [] for name in ("matmul", *steps)}
            for times in time_rounds({"matmul": product, **steps}, count, plain.setting.device):
                for name, seconds in times.items():
                    cell["seconds"][name].append(round(seconds, 6))
                yield cell
    except torch.OutOfMemoryError as error:
        raise MemoryError(f"too little for {plain.tasks} tasks at once: {error}") from error
