"""What narrows the angles between the tasks' gradients? The first epoch on synthetic rooms, taken apart.

    python book/studies/angles.py            # about two minutes on one CPU core

Hard sharing, TSσBN with its gates at 10 and at 100 times the common rate, and two controls:
statistics of its own for each task and nothing else; gates that are drawn at random and never
trained. Cosines of the tasks' gradients over all shared filters in every second step, and at the
end of the epoch on three batches:

- ``"same"``: between two tasks on the same images, for each batch and pair;
- ``"other"``: between two tasks on different images, so that no noise is common;
- ``"within"``: of one task with itself on different images, how much of a gradient is signal;
- ``"averaged"``, ``"shuffled"``: as ``"same"``, with the mean of the tasks' gates for every task,
  and with each task's gates in another order within each layer.

The filters are those of the run in all five; batch statistics are those of the batch.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tssbn.methods import find_method
from tssbn.gates import importance, similarity
from tssbn.gradients import cosines, task_gradients
from tssbn.norm import TaskSigmoidNorm
from tssbn import records
from tssbn.training.balancing import Angles
from tssbn.training.batches import BatchLoader, preload, derive_seed, epoch_batches
from tssbn.training.epoch import train_epoch
from tssbn.training.run import Run
from tssbn.benchmarks.tasks import Task

SEEDS = range(3)
SETTINGS = {"n": 240, "height": 32, "width": 48}
EVERY = 2  # steps
RANDOM = 1.0  # standard deviation of γ where gates are drawn

VARIANTS = {  # method, and options of its rates
    "hps": ("hps", {}),
    "statistics": ("statistics", {}),
    "tssbn x10": ("tssbn", {"multiplier": 10}),
    "tssbn x100": ("tssbn", {"multiplier": 100}),
    "random gates": ("tssbn", {"multiplier": 1}),
}


def main(folder: Path | None = None) -> None:
    """Run all variants and seeds, and write the record."""
    torch.set_num_threads(1)
    began = time.monotonic()
    runs = {
        name: [one_epoch(*chosen, seed, frozen=name == "random gates") for seed in SEEDS]
        for name, chosen in VARIANTS.items()
    }
    record = {
        **records.environment(),
        "benchmark": "rooms",
        "settings": SETTINGS,
        "seeds": list(SEEDS),
        "every": EVERY,
        "random": RANDOM,
        "seconds": time.monotonic() - began,
        "runs": runs,
    }
    print(records.write("angles/first_epoch", record, folder))


def one_epoch(method: str, options: Mapping, seed: int, frozen: bool) -> dict:
    """The angles during the first epoch and after it, and how alike the tasks' gates are then."""
    benchmark = Run("rooms", method, seed, SETTINGS).benchmark
    data = preload(benchmark.data("train"))
    tasks = benchmark.tasks(benchmark.data("train").targets)
    torch.manual_seed(seed)
    net = find_method(method).build(
        benchmark.network, {k: t.out_channels for k, t in tasks.items()}
    )
    recipe = benchmark.recipe
    groups = find_method(method).groups(net, recipe.lr, **options)
    if frozen:
        for layer in gated(net):
            nn.init.normal_(layer.gamma, std=RANDOM).requires_grad_(False)
    fabric = Fabric(accelerator="cpu", devices=1)
    model, optimiser = fabric.setup(net, recipe.make_optimiser(groups))
    batches = BatchLoader(data, fabric.device, benchmark.scale)
    rows = epoch_batches(len(data), recipe.batch, derive_seed(seed, 1))
    angles = Angles(net, EVERY)
    for _ in train_epoch(fabric, model, optimiser, tasks, batches(rows), balancing=angles):
        pass
    end = at_the_end(net, tasks, list(batches(rows[:3])))
    found = {"all": angles.measured["all"], "end": end}
    if gated(net):
        gates = importance(net)
        pairs = list(combinations(range(len(tasks)), 2))
        found["gates"] = {
            "spread": gates.values.std().item(),
            "similarity": [similarity(gates)[pair].item() for pair in pairs],
            "centred": [similarity(gates, centred=True)[pair].item() for pair in pairs],
        }
    return found


def gated(net: nn.Module) -> list[nn.Module]:
    return [layer for layer in net.modules() if isinstance(layer, TaskSigmoidNorm)]


def at_the_end(net: nn.Module, tasks: Mapping[str, Task], batches: list) -> dict[str, list[float]]:
    found = between(rows_of(net, tasks, batches))
    if gated(net):
        own = [layer.gamma.detach().clone() for layer in gated(net)]
        for name, change in ("averaged", averaged), ("shuffled", shuffled_channels):
            set_gates(net, map(change, own))
            found[name] = between(rows_of(net, tasks, batches))["same"]
        set_gates(net, own)
    return found


@torch.no_grad()
def set_gates(net: nn.Module, gammas) -> None:
    for layer, gamma in zip(gated(net), gammas, strict=True):
        layer.gamma.copy_(gamma)


def averaged(gamma: Tensor) -> Tensor:
    return torch.logit(gamma.sigmoid().mean(0, keepdim=True)).expand_as(gamma)


def shuffled_channels(gamma: Tensor) -> Tensor:
    return torch.stack([row[torch.randperm(len(row))] for row in gamma])


def rows_of(net: nn.Module, tasks: Mapping[str, Task], batches: list) -> Tensor:
    """Gradients of the batches and tasks over the filters of the trunk, (batches, tasks, P)."""
    filters = [m.weight for m in net.trunk.modules() if isinstance(m, nn.Conv2d)]
    net.train()
    each = []
    for batch in batches:
        predictions = net(batch["image"])
        losses = {task: tasks[task].loss(predictions[task], batch[task]) for task in tasks}
        each.append(task_gradients(losses, filters))
    return torch.stack(each)


def between(rows: Tensor) -> dict[str, list[float]]:
    count, tasks, _ = rows.shape
    matrix = cosines(rows.flatten(0, 1).double()).reshape(count, tasks, count, tasks)

    def chosen(which: Callable[[int, int, int, int], bool]) -> list[float]:
        places = combinations([(b, t) for b in range(count) for t in range(tasks)], 2)
        return [matrix[b, t, c, s].item() for (b, t), (c, s) in places if which(b, t, c, s)]

    return {
        "same": chosen(lambda b, t, c, s: b == c),
        "other": chosen(lambda b, t, c, s: b != c and t != s),
        "within": chosen(lambda b, t, c, s: b != c and t == s),
    }


if __name__ == "__main__":
    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=form).parse_args()
    main()
