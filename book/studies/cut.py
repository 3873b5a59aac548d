#!/usr/bin/env python3
"""Which channels can a task do without? Cut those with the narrowest gates, and score what is left.

    python book/studies/cut.py rooms_segnet [--seeds 0 1 2] [--runs FOLDER]

For each seed a TSσBN network is trained, or taken from FOLDER, where
``python -m tssbn train --runs FOLDER`` left its checkpoint. A second network goes on from there for
some epochs with the penalty of receding neuron importances on its gates, a third one goes on
without it. From each of the three the network of every task is taken out with fewer and fewer
channels (`tssbn.export`), which are chosen by

gates      the task's gates, the narrowest of all layers
shuffled   the same gates, shuffled within their layers
weights    the norm of the filters; in each layer as many as by gates. A weak control: BatchNorm
           undoes the scale of a filter, so its norm tells of the optimiser, not of the function

and scored on the first ``IMAGES`` test images. The two that go on learn at other rates than before:
``LR``, and gates ``MULTIPLIER`` times that. In the saved file ``cut/<benchmark>-<seed>``,
``"networks"`` has for each network and task ``"whole"``, its multiply-accumulates, parameters and
score, and for each kind a list of the same for the shares of gates in ``"shares"``;
``"went_on"`` has the rates. Nothing is trained after a cut.
"""

import argparse
import copy
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import tssbn
from tssbn import export, pruning
from tssbn.export.single import channel_gates, plain_norms
from tssbn.cost import macs, parameters
from tssbn.training.epoch import evaluate
from tssbn.training.loop import train
from tssbn.records import environment, write
from tssbn.training.run import Run

SHARES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65)  # of all gates of a task
KINDS = ("gates", "shuffled", "weights")
IMAGES = 100  # of the test set, the first
EPOCHS, LR, MULTIPLIER = 2, 5e-4, 100  # of going on
PENALTY = 1e-4  # weight of the penalty


class Only(nn.Module):
    """What the trainer's evaluation takes."""

    def __init__(self, task: str, net: nn.Module):
        super().__init__()
        self.task, self.net = task, net

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {self.task: self.net(x)}


def narrowest(widths: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks that leave out this share of all channels, but one of each layer stays."""
    threshold = torch.cat(list(widths.values())).quantile(share)
    masks = {name: width >= threshold for name, width in widths.items()}
    for name, width in widths.items():
        masks[name][width.argmax()] = True
    return masks


def shuffled(widths: Mapping[str, Tensor], random: torch.Generator) -> dict[str, Tensor]:
    """The gates of each layer in random order."""
    order = {name: torch.randperm(len(width), generator=random) for name, width in widths.items()}
    return {name: width[order[name]] for name, width in widths.items()}


def by_weights(single: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As many in each layer, but the filters of the largest norm stay."""
    modules = dict(single.named_modules())
    names = list(modules)
    found = {}
    for name, mask in masks.items():
        filters = modules[names[names.index(name) - 1]].weight  # the layer before
        largest = filters.flatten(1).norm(dim=1).topk(int(mask.sum())).indices
        found[name] = torch.zeros_like(mask).scatter(0, largest, True)
    return found


def go_on(net: nn.Module, run: Run, penalty: float) -> nn.Module:
    """The network after some more epochs, with the penalty on its gates."""
    torch.manual_seed(run.seed)
    net = copy.deepcopy(net)
    data = run.benchmark.data("train")
    tasks = run.benchmark.tasks(data.targets)
    optimiser = torch.optim.Adam(tssbn.param_groups(net, LR, MULTIPLIER))
    net.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(data)).split(run.benchmark.recipe.batch):
            batch = data[rows]
            outputs = net(batch["image"])
            loss = sum(tasks[name].loss(y, batch[name]) for name, y in outputs.items())
            optimiser.zero_grad()
            (loss + penalty * pruning.rni_penalty(net)).backward()
            optimiser.step()
    return net.eval()


def study(run: Run, runs: Path | None = None) -> dict[str, Any]:
    """The record of a run."""
    began = time.monotonic()
    net, trained = train(run, folder=runs and runs / run.name, resume=True, accelerator="cpu")
    data = run.benchmark.data("test")
    tasks = run.benchmark.tasks(data.targets)
    batches = [data[rows] for rows in torch.arange(IMAGES).split(run.benchmark.recipe.batch)]
    example = batches[0]["image"][:2]
    metric = trained["metric"]
    random = torch.Generator().manual_seed(run.seed)

    def measured(task: str, single: nn.Module) -> dict[str, float]:
        scores = evaluate(Only(task, single), {task: tasks[task]}, batches)
        return {
            "macs": macs(single, example[:1]),
            "parameters": parameters(single),
            "score": scores[task][metric[task]],
        }

    networks = {"trained": net, "went on": go_on(net, run, 0.0)}
    networks["receding"] = go_on(net, run, PENALTY)
    result: dict[str, Any] = {}
    for title, network in networks.items():
        result[title] = {}
        for task in network.tasks:
            plain, widths = plain_norms(network, task), channel_gates(network, task)
            result[title][task] = {"whole": measured(task, export.fold(plain))}
            for kind in ("gates",) if title == "went on" else KINDS:
                curve = result[title][task][kind] = []
                for share in SHARES:
                    masks = narrowest(
                        shuffled(widths, random) if kind == "shuffled" else widths, share
                    )
                    if kind == "weights":
                        masks = by_weights(plain, masks)
                    masks = pruning.tie_masks(plain, masks, example)
                    small = pruning.prune_channels(plain, masks, example)
                    curve.append(measured(task, export.fold(small)))
    return {
        "benchmark": run.benchmark.name,
        "seed": run.seed,
        "settings": run.settings,
        "metric": metric,
        "directions": trained["directions"],
        "images": IMAGES,
        "went_on": {"epochs": EPOCHS, "lr": LR, "multiplier": MULTIPLIER, "penalty": PENALTY},
        "shares": SHARES,
        "networks": result,
        "environment": environment(),
        "seconds": time.monotonic() - began,
    }


def main(arguments: Iterable[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("benchmarks", nargs="+", choices=("rooms_segnet", "faces"))
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2"
    )
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="folder with their checkpoints")
    options = parser.parse_args(arguments)
    for seed in options.seeds:
        for benchmark in options.benchmarks:
            run = Run(benchmark, "tssbn", seed, {"multiplier": 10})
            print(write(f"cut/{benchmark}-{seed}", study(run, options.runs)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
