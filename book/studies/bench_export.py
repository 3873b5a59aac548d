"""Does a network that was taken out of a multi-task network cost more than the plain backbone?

    python book/studies/bench_export.py [resnet18 resnet50 ...] [--rounds 15] [--threads 1]

For each network, in every round once in random order, the inference of

- exported: `tssbn.export.task` of a TSσBN network of three tasks;
- folded: the plain backbone with a head, its BatchNorm folded in the same way;
- backbone: the same, not folded;
- one task: `net(x, ("depth",))` of the TSσBN network;
- three tasks: `net(x)`.

The table shows seconds relative to `folded`: medians of the ratios in each round, and their
quartiles. It is written to data/results/bench/export.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

import tssbn
from tssbn import export
from tssbn.timing.networks import NETWORKS
from tssbn import records
from tssbn.timing.rounds import Spread, time_rounds
from tssbn.training.describe import device_name

TASKS = ("segmentation", "depth", "normal")
VARIANTS = ("exported", "folded", "backbone", "one task", "three tasks")


def head(features: Tensor) -> nn.Module:
    """Ten outputs, for each pixel where there are pixels."""
    made = nn.LazyConv2d(10, 1) if features.ndim == 4 else nn.LazyLinear(10)
    made(features)
    return made


@torch.no_grad()
def measure(name: str, count: int) -> dict:
    """Ratios and seconds of all variants of a network."""
    torch.manual_seed(0)
    chosen = NETWORKS[name]
    x = torch.rand(chosen.batch, 3, *chosen.size)
    plain = chosen.build(chosen.size).eval()
    heads = {task: head(plain(x)) for task in TASKS}
    trunk = tssbn.task_specific(chosen.build(chosen.size), TASKS)
    net = tssbn.MultiTask(trunk, heads).eval()
    backbone = nn.Sequential(plain, heads["depth"])
    folded, exported = export.fold(backbone), export.task(net, "depth")
    steps = {
        "exported": lambda: exported(x),
        "folded": lambda: folded(x),
        "backbone": lambda: backbone(x),
        "one task": lambda: net(x, ("depth",)),
        "three tasks": lambda: net(x),
    }
    expected = net(x)["depth"]
    difference = (exported(x) - expected).abs().max() / expected.abs().max()
    seen = list(time_rounds(steps, count))
    ratios = {v: [seconds[v] / seconds["folded"] for seconds in seen] for v in VARIANTS}
    return {
        "batch": chosen.batch,
        "size": list(chosen.size),
        "difference": difference.item(),
        "seconds": {v: median(seconds[v] for seconds in seen) for v in VARIANTS},
        "ratios": {v: Spread.of(values)._asdict() for v, values in ratios.items()},
    }


def main(arguments: Iterable[str] | None = None, folder: Path | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="default: all")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch; default: 1")
    options = parser.parse_args(arguments)
    if unknown := set(options.networks) - set(NETWORKS):
        parser.error(f"unknown networks {sorted(unknown)}: known are {', '.join(NETWORKS)}")
    if options.rounds < 2:
        parser.error(f"--rounds {options.rounds} must be at least 2")
    torch.set_num_threads(options.threads)

    result = {}
    print(f"{'':10}" + "".join(f"{variant:>22}" for variant in VARIANTS))
    for name in options.networks or NETWORKS:
        result[name] = found = measure(name, options.rounds)
        cells = (
            f"{ratio['median']:.3f} ({ratio['low']:.3f}-{ratio['high']:.3f})"
            for ratio in found["ratios"].values()
        )
        print(f"{name:10}" + "".join(f"{cell:>22}" for cell in cells), flush=True)
    record = {
        **records.environment(),
        "device": device_name(torch.device("cpu")),
        "threads": options.threads,
        "rounds": options.rounds,
        "networks": result,
    }
    print("record:", records.write("bench/export", record, folder))


if __name__ == "__main__":
    main()
