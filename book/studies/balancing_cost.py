"""What does a balancing cost? A step of each, of HPS and of TSσBN, relative to the plain sum.

    python book/studies/balancing_cost.py                   # 15 rounds, one thread
    python book/studies/balancing_cost.py --rounds 5 --balancings uw pcgrad

Three tasks of synthetic rooms on the U-Net of the benchmark `rooms`, its batch and optimiser, as
the trainer runs them. Each round runs the steps of both methods once, in a new order, so that other
load on the machine affects all of them. The ratios are taken within a round; the table has their
median and quartiles. Memory is the peak of two steps in a process of their own, above the network
and the batch. The saved file `balancing/cost` has the seconds of every round.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from rounds import parser

from tssbn import records
from tssbn.claims.compared import cost
from tssbn.timing.memory import peak_memory
from tssbn.timing.rounds import time_rounds
from tssbn.timing.strategies import Setting
from tssbn.training.balancing import BALANCINGS, find_balancing
from tssbn.training.epoch import train_epoch
from tssbn.training.run import Run

METHODS = "hps", "tssbn"
PLAIN = "plain"
CPU = Setting()
NAMES = tuple(name for name in BALANCINGS if name != "sum")


@dataclass(frozen=True)
class Case:
    """A method and a strategy: the plain sum, or the name of a balancing."""

    method: str
    strategy: str = PLAIN
    batch: int = 16
    setting: Setting = CPU

    def step(self) -> Callable[[], object]:
        """A step of training, with the same weights and images at every call."""
        run = Run("rooms", self.method, settings={"n": self.batch})
        data, recipe = run.benchmark.data("train"), run.benchmark.recipe
        tasks = run.benchmark.tasks(data.targets)
        torch.manual_seed(0)
        outputs = {name: task.out_channels for name, task in tasks.items()}
        net = run.method.build(run.benchmark.network, outputs)
        balancing = find_balancing("sum" if self.strategy == PLAIN else self.strategy)(net)
        net.tasks_per_pass = 1 if balancing.one_task_per_pass else recipe.tasks_per_pass
        groups = [*run.method.groups(net, recipe.lr), *balancing.groups(recipe.lr)]
        fabric = Fabric(accelerator="cpu", devices=1)
        model, optimiser = fabric.setup(net, recipe.make_optimiser(groups))
        batches = itertools.repeat(data[: self.batch])
        steps = train_epoch(fabric, model, optimiser, tasks, batches, balancing=balancing)
        return partial(next, steps)


def main(balancings: Iterable[str] = NAMES, rounds: int = 15, folder: Path | None = None) -> None:
    """Measure all, and write the record."""
    torch.set_num_threads(1)
    strategies = (PLAIN, *balancings)
    cases = [Case(method, strategy) for method in METHODS for strategy in strategies]
    steps = {(case.method, case.strategy): case.step() for case in cases}
    times = list(time_rounds(steps, rounds))
    record = {
        **records.environment(),
        "benchmark": "rooms",
        "batch": cases[0].batch,
        "tasks": 3,
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "seconds": by_method(cases, lambda *key: [seconds[key] for seconds in times]),
        "memory_mib": by_method(cases, lambda *key: peak_memory(Case(*key))),
    }
    print(cost(record).to_string(), records.write("balancing/cost", record, folder), sep="\n")


def by_method(
    cases: Iterable[Case], of: Callable[[str, str], object]
) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for case in cases:
        found.setdefault(case.method, {})[case.strategy] = of(case.method, case.strategy)
    return found


if __name__ == "__main__":
    options = parser(__doc__, rounds=15)
    options.add_argument(
        "--balancings", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="default: all"
    )
    main(**vars(options.parse_args()))
