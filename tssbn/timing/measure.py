"""All that is measured of a network with a number of tasks, as an entry for the record."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from tssbn.records import environment
from tssbn.timing.case import Case
from tssbn.timing.memory import peak_memory
from tssbn.timing.rounds import matmul, time_rounds
from tssbn.training.processes import precision_flags

__all__ = ["measure_strategies"]


def measure_strategies(
    cases: Mapping[str, Case], count: int, memory: bool = True
) -> Iterator[dict[str, Any]]:
    """Measure strategies; gives the entry of the record anew after every round.

    Args:
        cases: by strategy, ``"plain"`` among them; the same network and tasks in all.
        count: of the rounds.
        memory: measure it, too. A strategy that has too little of it is then left out.

    Raises:
        MemoryError: there is too little for the plain backbone, or for all strategies at once.
        ValueError: the network does not take images of this size.
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
