"""``python -m tssbn bench``."""

import argparse
import itertools
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tssbn.timing.strategies import Setting

__all__ = ["add"]


def add(commands: "argparse._SubParsersAction") -> None:
    """Add ``bench`` to the commands of ``python -m tssbn``."""
    text = "measure time and memory of T tasks, relative to T steps of the plain backbone"
    made = commands.add_parser("bench", help=text, description=f"{text[0].upper()}{text[1:]}.")
    made.set_defaults(run=_bench)
    made.add_argument("networks", nargs="*", metavar="NETWORK", help="see --list; default: all")
    made.add_argument("--list", action="store_true", help="list networks and strategies")
    made.add_argument(
        "--tasks",
        nargs="+",
        type=int,
        default=[1, 2, 3, 5, 10],
        metavar="T",
        help="numbers of tasks; default: 1 2 3 5 10",
    )
    made.add_argument(
        "--strategies", nargs="+", metavar="STRATEGY", help="see --list; default: all but compiled"
    )
    made.add_argument(
        "--rounds", type=int, default=9, help="each strategy runs once in each round; default: 9"
    )
    made.add_argument(
        "--batch", type=int, help="images in a batch; default: the network's own number"
    )
    made.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="size of the images; default: the network's own size",
    )
    made.add_argument(
        "--threads", type=int, help="threads of the CPU; default: PyTorch's own number"
    )
    made.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda", "mps"),
        help="default: auto, a GPU if there is one",
    )
    made.add_argument(
        "--precision", default="32", choices=("32", "tf32", "bf16"), help="arithmetic; default: 32"
    )
    made.add_argument(
        "--channels-last", action="store_true", help="use the memory format channels last"
    )
    made.add_argument(
        "--inference", action="store_true", help="predict without gradients, in eval mode"
    )
    made.add_argument("--no-memory", action="store_true", help="measure times only")
    made.add_argument(
        "--out", metavar="NAME", help="name of the saved file; default: after the setting"
    )
    made.add_argument(
        "--results", type=Path, help="folder of the saved runs; default: data/results"
    )


def _bench(options: argparse.Namespace) -> int:
    import torch

    from tssbn import records
    from tssbn.timing import record
    from tssbn.timing.case import Case
    from tssbn.timing.measure import measure_strategies
    from tssbn.timing.networks import NETWORKS
    from tssbn.timing.strategies import ABOUT, DEFAULT, Setting, applies, check_strategy
    from tssbn.training.describe import device_name

    if options.list:
        for name, network in NETWORKS.items():
            height, width = network.size
            print(f"{name:12}{network.batch} images of {height}x{width}")
        for name, about in ABOUT.items():
            print(textwrap.fill(f"{name:12}{about}", 100, subsequent_indent=" " * 12))
        return 0
    names = options.networks or list(NETWORKS)
    if unknown := [name for name in names if name not in NETWORKS]:
        raise ValueError(f"networks {unknown} are unknown; use some of {list(NETWORKS)}")
    strategies = dict.fromkeys(["plain", *map(check_strategy, options.strategies or DEFAULT)])
    for key, least in (("tasks", 1), ("rounds", 1), ("batch", 2), ("size", 1), ("threads", 1)):
        given = getattr(options, key)
        for value in given if isinstance(given, list) else [given]:
            if value is not None and value < least:
                raise ValueError(f"--{key} {value} must be at least {least}")
    if options.threads:
        torch.set_num_threads(options.threads)
    setting = Setting(
        _device(options.device), options.precision, options.channels_last, options.inference
    )
    told = {
        "device": device_name(torch.device(setting.device)),
        "threads": torch.get_num_threads(),
        "precision": setting.precision,
        "channels_last": setting.channels_last,
        "inference": setting.inference,
    }
    out = options.out or _name(setting)
    kept = record.load(out, told, options.results)

    for name, tasks in itertools.product(dict.fromkeys(names), dict.fromkeys(options.tasks)):
        network = NETWORKS[name]
        batch, size = options.batch or network.batch, tuple(options.size or network.size)
        cases = {
            strategy: Case(network, batch, size, tasks, strategy, setting)
            for strategy in strategies
            if applies(strategy, tasks)
        }
        entry, stopped = None, False
        try:
            for entry in measure_strategies(cases, options.rounds, not options.no_memory):  # noqa: B007
                pass
        except KeyboardInterrupt:
            stopped = True
        earlier = kept["networks"].get(name, {}).get(str(tasks))
        if entry and not (stopped and earlier):
            record.add_entry(kept, name, tasks, entry)
            path = records.write(f"bench/{out}", kept, options.results)
            print(f"{record.table(name, tasks, entry)}\n", flush=True)
        if stopped:
            print("stopped; earlier measurements are saved", file=sys.stderr)
            return 130
    print(path)
    return 0


def _device(name: str) -> str:
    """Find the device of this name, or the best there is."""
    import torch

    if name == "auto":
        return (
            torch.accelerator.current_accelerator().type
            if torch.accelerator.is_available()
            else "cpu"
        )
    backend = {"cuda": torch.cuda, "mps": torch.backends.mps}.get(name)
    if backend is not None and not backend.is_available():
        raise ValueError(f"--device {name}, but torch finds no such device: use auto or cpu")
    return name


def _name(setting: "Setting") -> str:
    """Name a setting, such as ``cpu-2`` with two threads, or ``cuda-bf16-inference``."""
    import torch

    parts = [setting.device]
    parts += [str(torch.get_num_threads())] * (setting.device == "cpu")
    parts += [setting.precision] * (setting.precision != "32")
    parts += ["channels-last"] * setting.channels_last + ["inference"] * setting.inference
    return "-".join(parts)
