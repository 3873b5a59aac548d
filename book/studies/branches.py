#!/usr/bin/env python3
"""How late may passes part? Cost and accuracy between a pass for each task and one trunk.

    python book/studies/branches.py [rooms_segnet] [faces] [--seeds 0 1 2] [--runs FOLDER]
    python book/studies/branches.py [rooms_segnet] [faces] --longer 4 --runs FOLDER

For each seed a network with TSσBN is trained, or taken from FOLDER, where an earlier call left its
checkpoint. Then trees are chosen for it (`tssbn.export.trees`) that need no more than a given share
of the computation of all passes:

gates      the smallest tolerance between gates and statistics that is cheap enough
loss       the first step of the greedy path that is; losses are those of validation images
random     that tree with the names of the tasks shuffled, if that changes it
together   all tasks together up to some layer, each alone after it

and beside them "apart", each task alone everywhere, and "trunk", one trunk for all. They are scored
on the test images as they are merged and with their statistics estimated anew, and some of them
after a short training of all parameters. In the saved file ``branches/<benchmark>-<seed>``,
``"cost"`` is relative to "apart", and ``"change"`` is the mean over tasks of the relative change of
the metric in per cent, up is better; of faces it is that of the mean F1.

With ``--longer`` the saved trees by gates and by loss for half of the cost, and "apart", are
trained for so many epochs instead, into ``branches/<benchmark>-<seed>-longer``.

"""

import argparse
import copy
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from branches_trees import Tree, by_gates, pairs, relabelled, short, together
from tssbn.export.trees import distances, greedy
from tssbn.export.unroll import branches
from tssbn import records
from tssbn.training.batches import BatchLoader, derive_seed, epoch_batches
from tssbn.cost import delta_m, macs
from tssbn.training.epoch import evaluate
from tssbn.training.loop import train
from tssbn.training.run import Run

SETTINGS = {
    "rooms_segnet": {"multiplier": 10},  # its schedule is a cosine already
    "faces": {"multiplier": 10, "schedule": "cosine"},
}
DEPTHS = {  # where greedy trees may part: one norm layer of each stage
    "rooms_segnet": [
        *(f"encoder.{i}.0.1" for i in range(5)),
        *(f"decoder.{i}.0.1" for i in range(4, -1, -1)),
    ],
    "faces": None,
}
SHARES = {"rooms_segnet": (0.75, 0.6, 0.5), "faces": (0.75, 0.5)}  # of the cost of all passes
TUNED = {  # which points are trained on; the others are scored without
    "rooms_segnet": {"gates": (0.6, 0.5), "loss": (0.6, 0.5), "random": (0.5,), "together": (0.5,)},
    "faces": {"gates": (0.5,), "loss": (0.5,), "random": (0.5,), "together": (0.5,)},
}
TUNING = {"rooms_segnet": {"epochs": 2, "lr": 1e-3}, "faces": {"epochs": 2, "lr": 4e-3}}
HALF = (("gates", 0.5), ("loss", 0.5))  # points that are trained longer
STATISTICS = {"batches": 8, "images": 64}  # training images that statistics are estimated with
SEARCH = {"batches": 2, "images": 100}  # the same while a tree is searched; validation images


class Study:
    """One trained network, and what its trees cost and are worth."""

    def __init__(self, run: Run, folder: Path | None):
        self.run, self.benchmark = run, run.benchmark
        self.net, self.trained = train(
            run, folder and folder / run.name, resume=folder is not None, accelerator="cpu"
        )
        self.data = {split: self.benchmark.data(split) for split in ("train", "val", "test")}
        self.tasks = self.benchmark.tasks(self.data["train"].targets)
        image = self.data["test"][:1]["image"]
        self.example = torch.empty(image.shape, device="meta")
        self.apart = {next(iter(distances(self.net))): tuple((t,) for t in self.net.tasks)}
        self.whole = self.macs(self.apart)
        self.base = self.scores(self.net)

    def batches(self, split: str, rows: Iterable[Tensor]) -> Iterable[dict[str, Tensor]]:
        return BatchLoader(self.data[split], torch.device("cpu"), self.benchmark.scale)(list(rows))

    def macs(self, tree: Tree) -> int:
        return macs(copy.deepcopy(branches(self.net, tree)).to("meta"), self.example)

    def cost(self, tree: Tree) -> float:
        return self.macs(tree) / self.whole

    def scores(self, net: nn.Module) -> dict[str, float]:
        """The metric of each task on the test images."""
        rows = torch.arange(len(self.data["test"])).split(50)
        found = evaluate(net, self.tasks, self.batches("test", rows))
        return {task: found[task][metric] for task, metric in self.trained["metric"].items()}

    def change(self, scores: Mapping[str, float]) -> float:
        if not self.benchmark.average:
            return delta_m(scores, self.base, self.trained["directions"])
        mean, base = (sum(values.values()) / len(values) for values in (scores, self.base))
        return 100 * (mean / base - 1)

    @cached_property
    def images(self) -> list[Tensor]:
        """Training images, in batches."""
        order = epoch_batches(
            len(self.data["train"]), STATISTICS["images"], derive_seed(self.run.seed, 1)
        )
        rows = order[: STATISTICS["batches"]]
        return [batch["image"] for batch in self.batches("train", rows)]

    @cached_property
    def losses(self) -> dict[str, float]:
        """Of the network with all passes, on the validation images that trees are chosen with."""
        return self.measured(branches(self.net, self.apart).eval())

    @torch.no_grad()
    def measured(self, net: nn.Module) -> dict[str, float]:
        update_bn(self.images[: SEARCH["batches"]], net)
        (batch,) = self.batches("val", [torch.arange(SEARCH["images"])])
        outputs = net(batch["image"])
        return {t: task.loss(outputs[t], batch[t]).item() for t, task in self.tasks.items()}

    def loss(self, net: nn.Module) -> float:
        """Mean relative increase of the tasks' losses over those of all passes, in per cent."""
        now = self.measured(net)
        return 100 * sum(now[t] / self.losses[t] - 1 for t in now) / len(now)

    def tune(self, net: nn.Module, epochs: int | None = None) -> None:
        """A short training of everything, the tasks' losses summed as before."""
        tuning = TUNING[self.benchmark.name]
        optimiser = torch.optim.Adam(net.train().parameters(), tuning["lr"])
        n, size = len(self.data["train"]), self.benchmark.recipe.batch
        seeds = [
            derive_seed(self.run.seed, 2, epoch) for epoch in range(epochs or tuning["epochs"])
        ]
        rows = [rows for seed in seeds for rows in epoch_batches(n, size, seed)]
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(rows))
        for batch in self.batches("train", rows):
            outputs = net(batch["image"])
            sum(task.loss(outputs[t], batch[t]) for t, task in self.tasks.items()).backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
        net.eval()

    def point(self, chooser: str, share: float | None, tree: Tree) -> dict[str, Any]:
        """Cost and scores of a tree, before and after its statistics and parameters adapt."""
        net = branches(self.net, tree).eval()
        scores = {"merged": self.scores(net)}
        update_bn(self.images, net)
        scores["statistics"] = self.scores(net)
        if share is None or share in TUNED[self.benchmark.name][chooser]:
            self.tune(net)
            scores["tuned"] = self.scores(net)
        made = {
            "chooser": chooser,
            "share": share,
            "cost": self.cost(tree),
            "change": {stage: self.change(values) for stage, values in scores.items()},
            "scores": {stage: list(values.values()) for stage, values in scores.items()},
            "tree": short(tree),
        }
        changes = " ".join(f"{stage} {change:.2f}" for stage, change in made["change"].items())
        share = "" if share is None else str(share)
        print(f"{self.run.name:40} {chooser:9} {share:5} {made['cost']:6.3f} {changes}", flush=True)
        return made


def record(run: Run, folder: Path | None) -> dict[str, Any]:
    began = time.process_time()
    study = Study(run, folder)
    loaded = time.process_time()
    shares = SHARES[study.benchmark.name]
    path = greedy(
        study.net,
        study.loss,
        study.example,
        DEPTHS[study.benchmark.name],
        budget=min(shares) * study.whole,
    )
    searched = time.process_time()
    points = [study.point("apart", None, study.apart), study.point("trunk", None, {})]
    for share in shares:
        by_loss = next(step.tree for step in path if step.cost <= share * study.whole)
        for chooser, tree in {
            "gates": by_gates(study.net, study.cost, share),
            "loss": by_loss,
            "random": relabelled(by_loss, study.net.tasks, run.seed),
            "together": together(study.net, study.cost, share),
        }.items():
            if tree is not None:
                points.append(study.point(chooser, share, tree))
    return {
        "benchmark": study.benchmark.name,
        "seed": run.seed,
        "settings": dict(run.settings),
        "tasks": list(study.net.tasks),
        "metric": study.trained["metric"],
        "directions": study.trained["directions"],
        "layers": list(distances(study.net)),
        "differences": {
            name: pairs(apart).mean().item() for name, apart in distances(study.net).items()
        },
        "macs": study.whole,
        "base": study.base,
        "path": [[step.cost / study.whole, step.loss] for step in path],
        "points": points,
        "tuning": TUNING[study.benchmark.name],
        "statistics": STATISTICS,
        "search": SEARCH,
        "cpu_seconds": {
            "search": searched - loaded,
            "points": time.process_time() - searched,
            "all": time.process_time() - began,
        },
        **records.environment(),
    }


def longer(run: Run, folder: Path | None, epochs: int) -> dict[str, Any]:
    """What more epochs of training make of some trees of a record."""
    study = Study(run, folder)
    found = records.load(f"branches/{study.benchmark.name}-{run.seed}")
    points = []
    for point in found["points"]:
        if point["chooser"] == "apart" or (point["chooser"], point["share"]) in HALF:
            net = branches(study.net, point["tree"])
            update_bn(study.images, net)
            study.tune(net, epochs)
            scores = study.scores(net)
            change = study.change(scores)
            print(
                f"{run.name:40} {point['chooser']:9} {point['cost']:6.3f} {change:.2f}", flush=True
            )
            points.append(
                {key: point[key] for key in ("chooser", "share", "cost")}
                | {"change": change, "scores": list(scores.values())}
            )
    return {
        "benchmark": study.benchmark.name,
        "seed": run.seed,
        "tuning": TUNING[study.benchmark.name] | {"epochs": epochs},
        "points": points,
        **records.environment(),
    }


def main(arguments: Iterable[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument(
        "benchmarks", nargs="*", metavar="BENCHMARK", help="rooms_segnet or faces; default: both"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2"
    )
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="folder with their checkpoints")
    parser.add_argument(
        "--longer", type=int, metavar="EPOCHS", help="train the chosen trees for so many epochs"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.benchmarks) - set(SHARES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SHARES)}")
    torch.set_num_threads(1)
    for seed in options.seeds:
        for benchmark in options.benchmarks or SHARES:
            run = Run(benchmark, "tssbn", seed, SETTINGS[benchmark])
            name = f"branches/{benchmark}-{seed}"
            if options.longer:
                made = longer(run, options.runs, options.longer)
                print(records.write(f"{name}-longer", made))
            else:
                print(records.write(name, record(run, options.runs)))


if __name__ == "__main__":
    main()
