"""What does a second process cost? A step of the plain backbone, and steps of T tasks.

    python book/studies/ddp_cost.py                                  # two processes of one thread
    python book/studies/ddp_cost.py --network resnet50 --tasks 5 --rounds 7

Each way to train takes its step three times in a round, with one batch for each process:

- alone: in the first process, while the other waits;
- apart: in both at the same time, without an exchange;
- together: in both, with gradients averaged.

So together - apart is what the exchange costs. The ways are the plain backbone (one pass, all
heads) in torch's DistributedDataParallel; TSσBN as our trainer runs it, by itself and with one task
a pass; and TSσBN, one task a pass, in DistributedDataParallel with no_sync for all passes but the
last. Heads, losses and optimiser are the same. The saved file has the seconds of every round.
"""

import itertools
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median

import torch
from lightning_fabric import Fabric
from rounds import parser
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import tssbn
from tssbn.timing.networks import NETWORKS
from tssbn.timing.rounds import Spread
from tssbn import records
from tssbn.columns import columns
from tssbn.cost import parameters
from tssbn.training.epoch import train_epoch
from tssbn.training.devices import make_fabric
from tssbn.benchmarks.tasks import Task

PLAIN = "plain backbone, DDP"
TRAINER = "TSσBN, trainer"
CHUNKS = "TSσBN, trainer, a pass a task"
NO_SYNC = "TSσBN, DDP with no_sync, a pass a task"
WAYS = (PLAIN, TRAINER, CHUNKS, NO_SYNC)
OUTPUTS, LR = 10, 1e-3

Step = Callable[[], object]


def main(
    network: str = "resnet18", tasks: int = 3, rounds: int = 15, folder: Path | None = None
) -> None:
    """Time all ways and write the record."""
    if tasks < 1:
        raise ValueError(f"tasks={tasks} must be 1 or more")
    torch.set_num_threads(1)
    fabric = make_fabric("cpu", devices=2, precision="32")
    steps = {way: made(way, network, tasks, fabric) for way in WAYS}
    seconds = timed(fabric, {way: pair for way, (_, pair) in steps.items()}, rounds)
    if not fabric.is_global_zero:
        return
    known = NETWORKS[network]
    record = {
        **records.environment(),
        "network": network,
        "tasks": tasks,
        "batch": known.batch,
        "size": known.size,
        "processes": fabric.world_size,
        "backend": torch.distributed.get_backend(),
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "parameters": {way: parameters(net) for way, (net, _) in steps.items()},
        "seconds": seconds,
    }
    print(table(record), records.write("ddp/cost", record, folder), sep="\n")


def made(way: str, network: str, tasks: int, fabric: Fabric) -> tuple[nn.Module, dict[str, Step]]:
    """The network of a way to train, and its step by itself and with the other process."""
    known = NETWORKS[network]
    torch.manual_seed(0)
    trunk = known.build(known.size)
    random = torch.Generator().manual_seed(fabric.global_rank)
    images = torch.rand(known.batch, 3, *known.size, generator=random)
    with torch.no_grad():
        features = trunk(images[:2])
    conv = features.ndim == 4
    channels = features.shape[1]
    heads = {
        f"task{t}": nn.Conv2d(channels, OUTPUTS, 1) if conv else nn.Linear(channels, OUTPUTS)
        for t in range(tasks)
    }
    if way == PLAIN:
        net = tssbn.MultiTask(trunk, heads)
    else:
        net = tssbn.MultiTask(tssbn.task_specific(trunk, heads), heads, tasks_per_pass=1)
    if way == TRAINER:
        net.stem, net.tasks_per_pass = known.stem, None
    optimiser = torch.optim.SGD(net.parameters(), LR)
    if way in (TRAINER, CHUNKS):
        alone = Fabric(accelerator="cpu", devices=1)
        return net, {
            "apart": ours(alone, net, optimiser, images),
            "together": ours(fabric, net, optimiser, images),
        }
    model = DistributedDataParallel(net, find_unused_parameters=way == NO_SYNC)
    return net, {
        "apart": theirs(net, net, optimiser, images, nullcontext),
        "together": theirs(model, net, optimiser, images, model.no_sync),
    }


def ours(
    fabric: Fabric, net: tssbn.MultiTask, optimiser: torch.optim.Optimizer, images: Tensor
) -> Step:
    """A step of our trainer."""
    tasks = {
        name: Task(OUTPUTS, lambda prediction, _: loss(prediction), None) for name in net.tasks
    }
    batch = {"image": images, **dict.fromkeys(tasks, images)}  # targets that no loss looks at
    model, optimiser = fabric.setup(net, optimiser)
    return train_epoch(fabric, model, optimiser, tasks, itertools.repeat(batch)).__next__


def theirs(
    model: nn.Module,
    net: tssbn.MultiTask,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    no_sync: Callable[[], AbstractContextManager],
) -> Step:
    """A step of a loop with DistributedDataParallel, which exchanges in the last backward pass."""

    def step() -> None:
        *early, last = net.passes()
        with no_sync():
            for tasks in early:
                sum(map(loss, model(images, tasks).values())).backward()
        sum(map(loss, model(images, last).values())).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def loss(prediction: Tensor) -> Tensor:
    return prediction.square().mean()


def timed(
    fabric: Fabric, ways: dict[str, dict[str, Step]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds of each way in each setting, those of the slower process; each round shuffles."""
    jobs = [(way, setting) for way in ways for setting in ("alone", "apart", "together")]
    seconds = {way: {"alone": [], "apart": [], "together": []} for way in ways}
    order = random.Random(0)  # the same in both processes
    for number in range(rounds + 1):
        order.shuffle(jobs)
        for way, setting in jobs:
            step = ways[way]["together" if setting == "together" else "apart"]
            idle = setting == "alone" and not fabric.is_global_zero
            fabric.barrier()
            began = time.perf_counter()
            if not idle:
                step()
            took = 0.0 if idle else time.perf_counter() - began
            took = fabric.all_reduce(
                torch.tensor(took, dtype=torch.float64), reduce_op="max"
            ).item()
            if number:  # the first round warms up
                seconds[way][setting].append(took)
    return seconds


def added(record: dict, way: str) -> list[float]:
    """Seconds that the exchange adds to a step, round by round."""
    of_way = record["seconds"][way]
    return [both - one for both, one in zip(of_way["together"], of_way["apart"], strict=True)]


def table(record: dict) -> str:
    """Medians in milliseconds, with quartiles of what the exchange adds."""
    lines = [("ms a step", "alone", "apart", "together", "exchange (quartiles)")]
    for way, of_way in record["seconds"].items():
        medians = [f"{1000 * median(times):.0f}" for times in of_way.values()]
        low, middle, high = (f"{1000 * value:.0f}" for value in Spread.of(added(record, way)))
        lines.append((way, *medians, f"{middle} ({low} to {high})"))
    return "\n".join(columns(lines))


if __name__ == "__main__":
    options = parser(__doc__, rounds=15)
    options.add_argument(
        "--network", choices=NETWORKS, default="resnet18", help="default: resnet18"
    )
    options.add_argument("--tasks", type=int, default=3, help="number of tasks; default: 3")
    main(**vars(options.parse_args()))
