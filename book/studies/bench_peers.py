"""What does a step of other multi-task methods cost, on the same trunk and batch?

    python book/studies/bench_peers.py [--libmtl CHECKOUT] [--tasks 3] [--rounds 7] [--threads 1]

The trunk is the dilated ResNet-50 without heads; the loss of a task is the mean square of its
features. The methods are those of `tssbn.methods`. With a checkout of LibMTL (MIT,
https://github.com/median-research-group/LibMTL) its HPS, Cross-Stitch and MTAN are timed beside
them. Every method runs once in each round, all in one process. The table is printed, and written
to data/results/bench/peers.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from tssbn.methods import Network, find_method
from tssbn.timing import record
from tssbn.timing.strategies import Setting, TimedStep
from tssbn.timing.rounds import matmul, time_rounds
from tssbn.networks.deeplab import dilated_resnet
from tssbn import records
from tssbn.training.describe import device_name
from tssbn.training.devices import precision_flags

OURS = ("hps", "tssbn", "cross-stitch", "mtan")
THEIRS = {"hps": "HPS", "cross-stitch": "Cross_stitch", "mtan": "MTAN"}


class Theirs(nn.Module):
    """A network of LibMTL, called as ours are."""

    def __init__(self, net: nn.Module, tasks: tuple[str, ...]):
        super().__init__()
        self.net, self.tasks = net, tasks

    def passes(self) -> Iterator[tuple[str, ...]]:
        yield self.tasks

    def forward(self, x: Tensor, tasks: tuple[str, ...]) -> dict[str, Tensor]:
        return self.net(x)


def libmtl(checkout: Path, tasks: tuple[str, ...], device: str) -> dict[str, nn.Module]:
    """LibMTL's networks, by name of the method.

    Only its architectures are imported: the package itself wants graph libraries for its trainer.
    """
    folder = checkout / "LibMTL"
    if not (folder / "architecture").is_dir():
        raise SystemExit(f"--libmtl {checkout}: no LibMTL/architecture in there")
    package = sys.modules["LibMTL"] = ModuleType("LibMTL")
    package.__path__ = [str(folder)]
    architecture, model = import_module("LibMTL.architecture"), import_module("LibMTL.model")
    return {
        f"LibMTL {name}": Theirs(
            getattr(architecture, kind)(
                list(tasks),
                lambda: model.resnet_dilated("resnet50", pretrained=False),
                nn.ModuleDict({task: nn.Identity() for task in tasks}),
                rep_grad=False,
                multi_input=False,
                device=torch.device(device),
            ),
            tasks,
        )
        for name, kind in THEIRS.items()
    }


def main(arguments: Iterable[str] | None = None, folder: Path | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--libmtl", type=Path, metavar="CHECKOUT", help="a checkout of LibMTL")
    parser.add_argument("--tasks", type=int, default=3, help="number of tasks; default: 3")
    parser.add_argument("--batch", type=int, default=2, help="images in a batch; default: 2")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(96, 128), metavar=("H", "W"), help="default: 96 128"
    )
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="default: PyTorch's own number"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    setting = Setting(options.device)

    images = torch.rand(options.batch, 3, *options.size)
    tasks = tuple(f"task{index}" for index in range(options.tasks))
    network = Network(dilated_resnet, lambda channels: nn.Identity(), images)
    nets = {"plain": find_method("hps").build(network, {"task0": 1})}
    nets |= {name: find_method(name).build(network, dict.fromkeys(tasks, 1)) for name in OURS}
    if options.libmtl:
        nets |= libmtl(options.libmtl, tasks, options.device)

    with precision_flags(setting.precision):
        steps = {name: TimedStep(net, images, setting) for name, net in nets.items()}
        product, macs = matmul(options.device)
        timed = list(time_rounds({"matmul": product, **steps}, options.rounds, options.device))
    cell = {
        "batch": options.batch,
        "size": list(options.size),
        **records.environment(),
        "memory": {},
        "network": {},
        "out_of_memory": [],
        "tasks_a_pass": {name: max(map(len, step.net.passes())) for name, step in steps.items()},
        "macs": {name: step.macs() for name, step in steps.items()},
        "matmul": macs,
        "seconds": {name: [round(now[name], 6) for now in timed] for name in ("matmul", *steps)},
    }
    entry = {
        "device": device_name(torch.device(options.device)),
        "threads": torch.get_num_threads(),
        "precision": "32",
        "channels_last": False,
        "inference": False,
        "networks": {"deeplab": {str(options.tasks): cell}},
    }
    print(record.table("deeplab", options.tasks, cell))
    print(records.write("bench/peers", entry, folder))


if __name__ == "__main__":
    main()
