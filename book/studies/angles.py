"""What narrows the angles between the tasks' gradients? The first epoch on synthetic rooms, taken apart.

    python book/studies/angles.py            # about ten minutes on one CPU core

Hard sharing; task-specific BatchNorms and TSσBN, both at two gate rates, the learning rate of the
scales and biases, or of the gates; and two controls: statistics of its own for each task and
nothing else; gates that are drawn at random and never trained. All at one base rate, which does not
fall. Cosines of the tasks' gradients over all shared filters in every second step, and at the end
of the epoch on three batches:

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
from typing import Any

import torch
from torch import Tensor, nn

from tssbn.gates import importance, similarity
from tssbn.gradients import cosines, task_gradients
from tssbn.norm import TaskSigmoidNorm
from tssbn import records
from tssbn.training.batches import derive_seed, epoch_batches
from tssbn.training.loop import train
from tssbn.training.run import Run
from tssbn.benchmarks.tasks import Task

SEEDS = range(3)
LR = 1e-3
SETTINGS = {"n": 800, "height": 32, "width": 48, "epochs": 1, "lr": LR, "schedule": "constant"}
EVERY = 2  # steps

VARIANTS = {  # method and its settings
    "hps": ("hps", {}),
    "statistics": ("statistics", {}),
    "tsbn .01": ("tsbn", {"multiplier": 0.01 / LR}),
    "tssbn .01": ("tssbn", {"multiplier": 0.01 / LR}),
    "tsbn .1": ("tsbn", {"multiplier": 0.1 / LR}),
    "tssbn .1": ("tssbn", {"multiplier": 0.1 / LR}),
    "random gates": ("random-gates", {"std": 1.0}),  # of γ
}


def main(folder: Path | None = None) -> None:
    """Run all variants and seeds, and write the record."""
    torch.set_num_threads(1)
    began = time.monotonic()
    runs = {name: [one_epoch(*chosen, seed) for seed in SEEDS] for name, chosen in VARIANTS.items()}
    record = {
        **records.environment(),
        "benchmark": "rooms",
        "settings": SETTINGS,
        "variants": VARIANTS,
        "seeds": list(SEEDS),
        "every": EVERY,
        "seconds": time.monotonic() - began,
        "runs": runs,
    }
    print(records.write("angles/first_epoch", record, folder))


def one_epoch(method: str, settings: Mapping[str, Any], seed: int) -> dict:
    """The angles during the first epoch and after it, and how alike the tasks' gates are then."""
    run = Run("rooms", method, seed, {**SETTINGS, **settings})
    net, record = train(run, accelerator="cpu", angles=EVERY)
    data = run.benchmark.data("train")
    rows = epoch_batches(len(data), run.benchmark.recipe.batch, derive_seed(seed, 1))[:3]
    end = at_the_end(net, run.benchmark.tasks(data.targets), [data[batch] for batch in rows])
    found = {"all": record["angles"]["all"], "end": end}
    if gated(net):
        gates = importance(net)
        pairs = list(combinations(range(len(gates.tasks)), 2))
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
