#!/usr/bin/env python3
"""How long do the trees of the study of branches take?

    python book/studies/branches_time.py [--rounds 15]

The trees of ``branches/<benchmark>-0`` are timed, without any training, and beside them three ways
to make all passes: stacked, one after another, and unrolled ("apart"). Every network has its turn
in every round. The saved file ``branches/time`` has medians and quartiles over rounds.
"""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from branches import SETTINGS
from rounds import parser

from tssbn.export.unroll import branches
from tssbn.methods import find_method
from tssbn import records
from tssbn.timing.rounds import Spread, time_rounds
from tssbn.training.describe import device_name
from tssbn.training.run import Run


@torch.no_grad()
def timed(count: int, sizes: tuple[int, ...] = (1, 16)) -> dict[str, Any]:
    """Milliseconds of inference of all tasks, by network and number of images."""
    rows = []
    for benchmark in SETTINGS:
        found = records.load(f"branches/{benchmark}-0")
        run = Run(benchmark, "tssbn", 0, SETTINGS[benchmark])
        torch.manual_seed(0)
        tasks = run.benchmark.tasks(run.benchmark.data("test").targets)
        outputs = {name: task.out_channels for name, task in tasks.items()}
        net = find_method("tssbn").build(run.benchmark.network, outputs).eval()
        net.tasks_per_pass = len(net.tasks)
        turns = copy.deepcopy(net)
        turns.tasks_per_pass = 1
        nets = {"stacked passes": (1.0, net), "one pass a task": (1.0, turns)}
        for point in found["points"]:
            if point["chooser"] in ("apart", "trunk", "loss"):
                name = f"{point['chooser']} {point['share'] or ''}".strip()
                nets[name] = point["cost"], branches(net, point["tree"])
        for size in sizes:
            images = run.benchmark.data("test")[:size]["image"]
            calls = {name: partial(model, images) for name, (_, model) in nets.items()}
            seconds = list(time_rounds(calls, count))
            for name, (cost, _) in nets.items():
                of_one = [1000 * times[name] for times in seconds]
                low, middle, high = Spread.of(of_one)
                rows.append(
                    {
                        "benchmark": benchmark,
                        "images": size,
                        "network": name,
                        "macs": cost,
                        "ms": middle,
                        "quartiles": [low, high],
                    }
                )
                print(
                    f"{benchmark:12} {size:3} {name:16} {cost:6.3f} {middle:8.2f} ms "
                    f"[{low:.2f}, {high:.2f}]"
                )
    return {
        "rounds": count,
        "threads": torch.get_num_threads(),
        "device": device_name(torch.device("cpu")),
        "rows": rows,
        **records.environment(),
    }


def main(rounds: int = 15, folder: Path | None = None) -> None:
    torch.set_num_threads(1)
    print(records.write("branches/time", timed(rounds), folder))


if __name__ == "__main__":
    main(**vars(parser(__doc__, rounds=15).parse_args()))
