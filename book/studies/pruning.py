#!/usr/bin/env python3
"""Receding neurons on CIFAR-10: train with a penalty, cut the network, fine-tune what is left.

    python book/studies/pruning.py --data data/cifar10 --method rni [--network vgg16] [--seed 0]

The study of arXiv 2204.06404 with the settings of its official code. A run stops before an epoch
that would end after ``--minutes``, and the same command goes on. What was stopped and resumed is
what was not stopped: bit for bit on a CPU, on a GPU up to kernels that add in no fixed order. The
methods:

rni      σBN with the penalty λ·Σ p(1 - ln p), p = σ(γ + b); gates of all layers compared
l1       BatchNorm with the penalty λ·Σ|γ| (Network Slimming); scales of all layers compared
uniform  BatchNorm without a penalty; the same share cut from each layer

In the saved run ``pruning/<network>-<method>-<seed>``, ``"stages"`` has the training,
``"trained"``, and for each share of channels the fine-tuning, ``"0.5"`` and ``"0.9"``: ``"start"``
is the test accuracy before the stage's first epoch, so right after the cut; ``"last"`` that of its
last epoch, the one to report; ``"best"`` that of its best epoch *on the test images*, which the
official code reports. Every cut is made in the network of the last epoch of training, where the official code
takes that of the best test epoch. ``"gates"`` has the scores σ(γ) or ``|γ|`` of the prunable layers
(above 1, as 1) at several epochs of training. The seed is set before the network is built; the
official code sets it afterwards, which leaves the start to chance. Gates are drawn after all
filters, so these start alike with every method.
"""

import argparse
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pruning_images
import torch
import torch.nn.functional as F
from pruning_methods import BATCH, NETWORKS, SCOPES, Setting, build, cut, optimiser, penalty, scores
from torch import Tensor

from tssbn import pruning
from tssbn._install import install
from tssbn.data.real.find import find
from tssbn.training import checkpoint
from tssbn.training.batches import derive_seed
from tssbn.training.describe import add_gates, device_name
from tssbn.training.memory import peak_memory
from tssbn.training.devices import precision_flags
from tssbn.records import environment, results_dir, write

SCORED = 1000  # test images at a time


class Study:
    """What changes in a run, and so what a checkpoint holds, and how it goes on by an epoch."""

    def __init__(
        self,
        setting: Setting,
        data: Mapping[str, pruning_images.Images],
        device: torch.device,
        note: str,
    ) -> None:
        self.setting, self.device = setting, device
        self.shares = {"trained": 0.0, **{str(share): share for share in setting.shares}}
        self.format = torch.channels_last if setting.channels_last else torch.contiguous_format
        self.normalise = pruning_images.Normalise(device, self.format)
        self.example = pruning_images.Normalise(torch.device("cpu"), self.format)(
            data["test"].pixels[:2]
        )
        self.record: dict[str, Any] = {
            **{key: getattr(setting, key) for key in ("name", "network", "method", "seed")},
            "recipe": setting.recipe,
            "data": {
                split: {"images": len(images), "sha256": images.digest()}
                for split, images in data.items()
            },
            **environment(),
            "precision": setting.precision,
            "channels_last": setting.channels_last,
            "fast_kernels": setting.fast_kernels,
            "device": device_name(device),
            "threads": torch.get_num_threads(),
            "note": note,
            "starts": 1,
            "seconds": 0.0,
            "stages": {},
            "finished": False,
        }
        self.data = {split: images.to(device) for split, images in data.items()}
        self.trained: dict[str, Tensor] | None = None  # once training is over
        self.saved = True  # whether the checkpoint is of the last epoch
        self.last_save = self.save_seconds = 0.0

    def go(self, folder: Path, deadline: float = math.inf) -> bool:
        """All epochs that are left, or those that end before the deadline; whether it is done."""
        if (folder / checkpoint.LAST).exists():
            self._resume(folder)
        else:
            self._begin("trained")
        while not self.record["finished"]:
            if time.monotonic() + self._pace() > deadline:
                break
            self._epoch()
            if time.monotonic() - self.last_save > checkpoint.PATIENCE * self.save_seconds:
                self._save(folder)
        if not self.saved:
            self._save(folder)
        return self.record["finished"]

    def _pace(self) -> float:
        """Seconds of the last epoch, and of a checkpoint after the next one."""
        seconds = [e["seconds"] for s in self.record["stages"].values() for e in s["epochs"]]
        return seconds[-1] + self.save_seconds if seconds else 0.0

    def _begin(self, stage: str) -> None:
        """The network of a stage, whole or cut from the trained one, and its optimiser."""
        net = build(self.setting, len(self.data["train"].classes))
        if share := self.shares[stage]:
            net.load_state_dict(self.trained)
            net = cut(net, self.setting, share, self.example)
        parameters, macs = pruning.cost(net, self.example[:1])
        channels = {name: net.get_submodule(name).num_features for name in net.prunable}
        self.net = net.to(self.device, memory_format=self.format)
        self.optimiser, self.scheduler = optimiser(self.net, self.setting)
        self.stage = self.record["stages"].setdefault(
            stage,
            {"share": share, "parameters": parameters, "macs": macs, "channels": channels}
            | {"start": None, "last": None, "best": None, "best_epoch": None, "epochs": []},
        )
        if self.stage["start"] is None:
            self.stage["start"] = self._accuracy()

    def _epoch(self) -> None:
        """Train for an epoch, score what came out, write it down, and begin the next stage."""
        began = time.monotonic()
        stages, done = self.record["stages"], self.stage["epochs"]
        epoch, epochs = len(done) + 1, self.setting.epochs
        lr = self.optimiser.param_groups[0]["lr"]
        loss, extra = self._train(derive_seed(self.setting.seed, len(stages), epoch))
        self.scheduler.step()
        title = f"{self.setting.name} {list(stages)[-1]} {epoch}/{epochs}"
        if not math.isfinite(loss + extra):
            raise FloatingPointError(f"{title}: the loss is {loss}, the penalty {extra}")
        accuracy, seconds = self._accuracy(), time.monotonic() - began
        done.append({"epoch": epoch, "seconds": seconds, "lr": lr, "loss": loss})
        done[-1] |= {"penalty": extra, "test": accuracy}
        self.record["seconds"] += seconds
        self.saved = False
        print(f"{title}: loss {loss:.3f}, test {accuracy:.2%}, {seconds:.1f} s", flush=True)

        if len(stages) == 1:
            add_gates(self.record, epoch, epochs, partial(scores, self.net))
        if epoch == epochs:
            best = max(done, key=lambda entry: entry["test"])
            self.stage |= {"last": accuracy, "best": best["test"], "best_epoch": best["epoch"]}
            self._end()

    def _end(self) -> None:
        """What comes after a stage: another one, or the end."""
        if len(self.record["stages"]) == 1:
            self.trained = {k: v.detach().cpu() for k, v in self.net.state_dict().items()}
        missing = [stage for stage in self.shares if stage not in self.record["stages"]]
        if missing:
            self._begin(missing[0])
        else:
            self.record["peak_memory_mib"] = peak_memory(self.device)
            self.record["finished"] = True

    def _train(self, seed: int) -> tuple[float, float]:
        """Mean loss and mean penalty. The device is asked for them after the last step only."""
        images, generator = self.data["train"], torch.Generator(self.device).manual_seed(seed)
        order = torch.randperm(len(images), generator=generator, device=self.device)
        pixels, labels = (
            pruning_images.augmented(images.pixels[order], generator),
            images.labels[order],
        )
        whole = self.stage["share"] == 0
        sums = torch.zeros(2, device=self.device)
        self.net.train()
        for some, targets in zip(pixels.split(BATCH), labels.split(BATCH), strict=True):
            with self._autocast():
                loss = F.cross_entropy(self.net(self.normalise(some)), targets)
            total = loss + penalty(self.net, self.setting) if whole else loss
            self.optimiser.zero_grad()
            total.backward()
            self.optimiser.step()
            sums += len(some) * torch.stack([loss.detach(), (total - loss).detach()])
        loss, extra = (sums / len(images)).tolist()
        return loss, extra

    @torch.no_grad()
    def _accuracy(self) -> float:
        images = self.data["test"]
        right = torch.zeros((), dtype=torch.long, device=self.device)
        self.net.eval()
        for some, targets in zip(
            images.pixels.split(SCORED), images.labels.split(SCORED), strict=True
        ):
            with self._autocast():
                right += (self.net(self.normalise(some)).argmax(1) == targets).sum()
        return right.item() / len(images)

    def _autocast(self) -> torch.autocast:
        mixed_precision = self.setting.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed_precision)

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in to be resumed."""
        data = {f"data of {split}": part["sha256"] for split, part in self.record["data"].items()}
        return {**asdict(self.setting), **self.setting.recipe, **data}

    def _save(self, folder: Path) -> None:
        began = time.monotonic()
        state = {
            "run": self._identity(),
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "trained": self.trained,
            "record": self.record,
        }
        checkpoint.save(folder, state)
        self.last_save, self.saved = time.monotonic(), True
        self.save_seconds = self.last_save - began

    def _resume(self, folder: Path) -> None:
        state = checkpoint.load(folder)
        checkpoint.check_same_run(state["run"], self._identity(), folder)
        here = {key: self.record[key] for key in checkpoint.MAY_DIFFER if self.record[key] != ""}
        self.record, self.trained = state["record"], state["trained"]
        if not self.record["finished"]:
            self.record |= here | {"starts": self.record["starts"] + 1}
        self._begin(list(self.record["stages"])[-1])
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scheduler.load_state_dict(state["scheduler"])


def main(arguments: Iterable[str] | None = None) -> None:
    began = time.monotonic()
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, metavar="ROOT", help="folder; default: data/cifar10")
    parser.add_argument("--method", choices=SCOPES, required=True)
    parser.add_argument("--network", choices=NETWORKS, default="vgg16", help="default: vgg16")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--epochs", type=int, default=160, help="epochs of each stage; default: 160"
    )
    parser.add_argument(
        "--shares",
        type=float,
        nargs="+",
        default=[0.5, 0.9],
        help="shares of channels to cut; default: 0.5 0.9",
    )
    parser.add_argument("--minutes", type=float, default=9, help="limit of this call; default: 9")
    parser.add_argument("--precision", choices=("32", "tf32", "bf16"), default="32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument(
        "--fast-kernels",
        action="store_true",
        help="let cuDNN choose its fastest kernels, which differ in the last bits",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of the checkpoints; default: runs"
    )
    parser.add_argument(
        "--results", type=Path, help="folder of the saved files; default: data/results"
    )
    parser.add_argument("--note", default="", help="text that is stored in the saved run")
    given = parser.parse_args(arguments)

    keys = [field.name for field in fields(Setting) if field.name != "shares"]
    setting = Setting(shares=tuple(given.shares), **{key: getattr(given, key) for key in keys})
    folder = given.results or results_dir()
    name = f"pruning/{setting.name}"
    if (folder / f"{name}.json").exists():
        print(f"{folder / name}.json is there")
        return
    if given.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch finds no GPU: take 'auto' or 'cpu'")
    if find_spec("torch_pruning") is None:  # else it would be missed only after training
        raise ImportError(f"the cut needs torch-pruning: {install('train')}")
    root = given.data or find("cifar10")
    if root is None:
        raise FileNotFoundError("no folder data/cifar10: --data ROOT says where the images are")
    gpu = given.device != "cpu" and torch.cuda.is_available()
    with (
        checkpoint.lock(given.runs / name),
        precision_flags(setting.precision, repeatable=not setting.fast_kernels),
    ):
        study = Study(
            setting, pruning_images.read(root), torch.device("cuda" if gpu else "cpu"), given.note
        )
        if study.go(given.runs / name, began + 60 * given.minutes):
            print(write(name, study.record, folder))
        else:
            print(f"{name}: stopped; the same command goes on")


if __name__ == "__main__":
    main()
