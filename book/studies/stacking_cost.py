"""Tasks stacked in one pass, or one pass after another: what each kind of module costs.

    python book/studies/stacking_cost.py                 # 10 rounds, one thread
    python book/studies/stacking_cost.py --rounds 3 --methods lora adapter

A forward and a backward pass of three tasks and a batch of images, with frozen trunks where the
method freezes them. Methods of Table 4 run on the small Swin transformer of the benchmark `adapt`,
those of Table 3 on the ViT of `digits`. All steps have their turn in every round, in a new order.
The ratios, separate over stacked, are taken within a round; the table has their median and
quartiles. Memory is the peak of two steps in a process of their own, above the network and the
images. The saved file `stacking/cost` has the seconds of every round.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rounds import parser

from tssbn import records
from tssbn.benchmarks import find_benchmark
from tssbn.columns import columns
from tssbn.methods import find_method
from tssbn.timing.memory import peak_memory
from tssbn.timing.rounds import relative, time_rounds
from tssbn.timing.strategies import Setting, TimedStep

SETTINGS = {"adapt": {"pretrained": "none"}, "digits": {}}
METHODS = {
    **dict.fromkeys(("tsbn-frozen", "tssbn-frozen", "bitfit", "lora", "adapter"), "adapt"),
    **dict.fromkeys(("compacter", "hyperformer", "polyhistor", "vpt-deep"), "adapt"),
    **dict.fromkeys(("tsbn", "tssbn"), "digits"),
}
OUTPUTS = {"one": 4, "two": 1, "three": 3}
WAYS = "stacked", "separate"
CPU = Setting()


@dataclass(frozen=True)
class Case:
    """A method, and the way that its tasks run; "plain" is another word for stacked."""

    method: str
    strategy: str = "stacked"
    batch: int = 16
    setting: Setting = CPU

    def step(self) -> TimedStep:
        """A forward and a backward pass of all tasks."""
        benchmark = find_benchmark(METHODS[self.method])(**SETTINGS[METHODS[self.method]])
        torch.manual_seed(0)
        options = benchmark.tuned.get(self.method, {})
        build = find_method(self.method).build
        known = {k: v for k, v in options.items() if k not in ("whole", "lr", "multiplier")}
        net = build(benchmark.network, OUTPUTS, **known)
        net.tasks_per_pass = 1 if self.strategy == "separate" else None
        images = torch.rand(self.batch, *benchmark.network.example.shape[1:])
        return TimedStep(net, images, self.setting)


def main(methods: Iterable[str] = METHODS, rounds: int = 10, folder: Path | None = None) -> None:
    """Measure all, and write the record."""
    torch.set_num_threads(1)
    keys = [(method, way) for method in methods for way in WAYS]
    times = list(time_rounds({key: Case(*key).step() for key in keys}, rounds))
    record = {
        **records.environment(),
        "batch": Case("lora").batch,
        "tasks": len(OUTPUTS),
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "networks": {method: METHODS[method] for method in methods},
        "seconds": {m: {w: [one[m, w] for one in times] for w in WAYS} for m in methods},
        "memory_mib": {m: {w: peak_memory(Case(m, w)) for w in WAYS} for m in methods},
    }
    print(table(record), records.write("stacking/cost", record, folder), sep="\n")


def table(record: Mapping) -> str:
    """Time and memory of separate passes relative to a stacked one."""
    lines = [("", "network", "time (quartiles)", "memory")]
    for method, network in record["networks"].items():
        seconds = record["seconds"][method]
        low, median, high = relative(seconds["separate"], seconds["stacked"])
        memory = record["memory_mib"][method]
        known = None not in memory.values() and memory["stacked"]
        share = f"{memory['separate'] / memory['stacked']:.2f}" if known else ""
        lines.append((method, network, f"{median:.2f} ({low:.2f} to {high:.2f})", share))
    return "\n".join(columns(lines))


if __name__ == "__main__":
    options = parser(__doc__, rounds=10)
    options.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        default=METHODS,
        metavar="NAME",
        help="default: all",
    )
    main(**vars(options.parse_args()))
