#!/usr/bin/env python3
"""Whose filters are they? Remove each task's own and see which tasks suffer.

    python book/studies/removal.py rooms faces [--seeds 0 1 2] [--runs FOLDER]

For each seed a network with task-specific gates is trained, or taken from FOLDER, where
``python -m tssbn train --runs FOLDER`` left its checkpoint. Then sets of filters are removed, each
for all tasks at once (`tssbn.gates.ablated`), and all tasks are scored. In the saved file
``removal/<benchmark>-<seed>``, ``"base"`` has the scores with all filters, ``"without"`` a list of
matrices for each way to choose ``"count"`` filters; row t has the scores without those that were
chosen for task t; ``"constant"`` those of the best answer that ignores the image:

own        of which the task holds the largest share
widest     whose gates are widest for it
least      whose gates are narrowest for it
random     any, drawn for each task
matched    random ones, in each layer as many as of its own
shuffled   its own according to shuffled gates

and ``"sweep"`` the same for fewer and more of its own.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tssbn.gates import Importance, importance, most_specialised, ablated, permuted
from tssbn.training.epoch import evaluate
from tssbn.training.loop import train
from tssbn.records import environment, load, write
from tssbn.training.run import Run

SHARE = 200 / 7168  # of the filters; what the paper removes from its SegNet
SWEEP = (0.5, 2)  # times as many
SETTINGS = {"rooms": {}, "faces": {"multiplier": 10}}
IMAGES = {"rooms": 200, "faces": 200}  # of the test set, the first
DRAWS = {"rooms": 3, "faces": 1}  # of what is random


def choices(
    gates: Importance, count: int, draws: int, generator: torch.Generator
) -> dict[str, list[Tensor]]:
    """By kind, the filters that are chosen for each task; boolean (T, F)."""
    own = most_specialised(gates, count)
    in_layers = replace(gates, values=own)
    anywhere = replace(in_layers, layers={"all": own.shape[1]})
    narrowest_first = gates.values.argsort(dim=1, stable=True)
    none = torch.zeros_like(own)
    return {
        "own": [own],
        "widest": [none.scatter(1, narrowest_first[:, -count:], True)],
        "least": [none.scatter(1, narrowest_first[:, :count], True)],
        "random": [permuted(anywhere, generator).values for _ in range(draws)],
        "matched": [permuted(in_layers, generator).values for _ in range(draws)],
        "shuffled": [most_specialised(permuted(gates, generator), count) for _ in range(draws)],
    }


def how(run: Run) -> dict[str, Any]:
    """How the saved run was trained, if there is one; a checkpoint is resumed in the same way."""
    try:
        saved = load(run.name)
    except FileNotFoundError:
        return {}
    return {key: saved[key] for key in ("precision", "channels_last") if key in saved}


def study(run: Run, images: int, draws: int, runs: Path | None = None) -> dict[str, Any]:
    """The record of a run."""
    began = time.monotonic()
    folder = runs and runs / run.name
    net, trained = train(run, folder=folder, resume=True, accelerator="cpu", **how(run))
    data = run.benchmark.data("test")
    batches = [data[rows] for rows in torch.arange(images).split(run.benchmark.recipe.batch)]
    tasks, names = run.benchmark.tasks(data.targets), trained["metric"].items()

    def score() -> list[float]:
        scores = evaluate(net, tasks, batches)
        return [scores[task][metric] for task, metric in names]

    def without(chosen: Tensor) -> list[list[float]]:
        matrix = []
        for filters in chosen:
            with ablated(net, filters):
                matrix.append(score())
        return matrix

    gates = importance(net)
    count = max(1, round(SHARE * gates.values.shape[1]))
    generator = torch.Generator().manual_seed(run.seed)
    chosen = choices(gates, count, draws, generator)
    more = [max(1, round(times * count)) for times in SWEEP]
    return {
        "name": run.name,
        "benchmark": run.benchmark.name,
        "seed": run.seed,
        "settings": run.settings,
        "metric": trained["metric"],
        "directions": trained["directions"],
        "images": images,
        "filters": gates.values.shape[1],
        "count": count,
        "base": score(),
        "constant": [trained["constant"][task][metric] for task, metric in names],
        "without": {kind: [without(one) for one in sets] for kind, sets in chosen.items()},
        "sweep": {str(k): without(most_specialised(gates, k)) for k in more},
        "environment": environment(),
        "seconds": time.monotonic() - began,
    }


def main(arguments: Iterable[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("benchmarks", nargs="+", choices=DRAWS)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2"
    )
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="folder with their checkpoints")
    options = parser.parse_args(arguments)
    for seed in options.seeds:
        for benchmark in options.benchmarks:
            run = Run(benchmark, "tssbn", seed, SETTINGS[benchmark])
            record = study(run, IMAGES[benchmark], DRAWS[benchmark], options.runs)
            print(write(f"removal/{benchmark}-{seed}", record))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
