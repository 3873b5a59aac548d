#!/usr/bin/env python3
"""Use a GPU that is lent for minutes, on a machine without network, for what data/gpu.toml lists.

Here, pack this checkout, the data and what is missing there:

    python tools/gpu.py pack PACK --data celeba=DIR nyuv2=DIR [--wheels DIR]

There, run the line that ``pack`` prints. It checks the machine, trains as far as the time goes, and
collects the results. One epoch of each run is tried first, so that errors show early. Then the runs
are trained in turn, each for at most twice its expected minutes at a time, until the time is over.
A run continues from its checkpoint. Runs that are saved already are skipped, and after a run that
fails the next one begins. Other options (``--precision 32``) are passed on to the trainer.

Back here, in the checkout:

    python tools/pack.py open BACK .
"""

import argparse
import importlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT), str(ROOT / "packages")]

import pack  # noqa: E402 (beside this file)

PLAN = ROOT / "data/gpu.toml"
FOLDER = ROOT / "runs/gpu"  # logs, and what the check found
WAY = ("--precision", "bf16", "--channels-last", "--fast-kernels", "--quiet")
NEEDED = ("torch", "numpy", "PIL", "lightning_fabric", "torchmetrics", "filelock", "tqdm")
EPOCH = 90  # seconds that the one epoch of a check may take
GRACE = 20  # seconds to begin, and to write a checkpoint after the time is up


class Item(NamedTuple):
    """An entry of the plan, its place in it, and its name as a run."""

    benchmark: str
    method: str
    seed: int
    settings: dict[str, Any]
    minutes: float
    name: str

    def command(self, *options: str) -> list[str]:
        """The command that trains it; the last of two equal options counts."""
        settings = [f"{key}={value}" for key, value in self.settings.items()]
        chosen = [self.benchmark, "--method", self.method, "--seed", str(self.seed)]
        chosen += ["--set", *settings] if settings else []
        return [sys.executable, "-m", "tssbn", "train", *chosen, *WAY, *options]

    @property
    def record(self) -> Path:
        """Is there once the run is finished."""
        return ROOT / "data/results" / f"{self.name}.json"

    @property
    def checkpoint(self) -> Path:
        return ROOT / "runs" / self.name

    @property
    def log(self) -> Path:
        return FOLDER / f"{self.name.replace('/', '-')}.log"


def plan(sets: Sequence[str] | None = None) -> tuple[list[Item], list[str]]:
    """What can be trained, most wanted first, and why the rest cannot.

    Args:
        sets: the names of the real sets at hand; those in ``data`` without it.
    """
    from tssbn.benchmarks import BENCHMARKS, find_benchmark
    from tssbn.training.run import Run

    listed, left_out = [], []
    for entry in entries():
        name, why = f"{entry['benchmark']} {entry['method']}", ""
        try:
            if entry["benchmark"] not in BENCHMARKS:
                why = "the package has no such benchmark"
            elif (source := find_benchmark(entry["benchmark"])().source) and not (
                (ROOT / "data" / source).is_dir() if sets is None else source in sets
            ):
                why = f"no data/{source}"
            else:
                run = Run(entry["benchmark"], entry["method"], entry["seed"], entry["settings"])
                listed.append(Item(**entry, name=run.name))
        except (ImportError, ValueError) as error:
            why = str(error)
        if why:
            left_out.append(f"left out   {name}: {why}")
    return listed, left_out


def entries() -> list[dict[str, Any]]:
    """What the plan lists."""
    listed = tomllib.loads(PLAN.read_text(encoding="utf-8"))["runs"]
    return [{"seed": 0, "settings": {}, **entry} for entry in listed]


def carry(out: Path, data: dict[str, Path], wheels: Path | None, runs: bool, size: float) -> int:
    """Write the pack, and say what to do with it."""
    listed, left_out = plan(tuple(data))
    items = [f"{folder}=data/{name}" for name, folder in data.items()]
    if runs:  # what an earlier slot began
        begun = [item.checkpoint for item in listed if item.checkpoint.is_dir()]
        items += [f"{folder}={folder.relative_to(ROOT)}" for folder in begun]
    pack.make(out, items, True, wheels, size)
    sizes = [part.stat().st_size for part in sorted(out.glob("part-*"))]
    print(
        *left_out,
        f"{len(listed)} runs, {sum(sizes) / 1e6:.1f} MB in {len(sizes)} parts. There:",
        f'  python {out.name}/pack.py open {out.name} work sh -c "python tools/gpu.py run '
        '--minutes 8; python tools/gpu.py collect ../BACK"',
        sep="\n",
    )
    return 0


def check(options: Sequence[str], minutes: float = math.inf) -> dict[str, tuple[float, float]]:
    """Look at the machine, and train one epoch of each run.

    Args:
        minutes: only of the first runs, those that are expected to fill this time.

    Returns:
        The seconds before its first epoch and those of an epoch, by run; infinite if it fails.

    Raises:
        SystemExit: what everything needs is missing.
    """
    missing = []
    for name in NEEDED:
        try:
            module = importlib.import_module(name)
            print(f"{name} {getattr(module, '__version__', '')}")
        except ImportError as error:
            missing.append(f"{name} ({error})")
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; carry them as wheels")
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors, {device}")
    tried = FOLDER / "check"
    shutil.rmtree(tried, ignore_errors=True)
    tried.mkdir(parents=True)
    free = shutil.disk_usage(tried).free / 1e9
    if free < 2:
        sys.exit(f"{tried}: {free:.1f} GB are free, 2 are needed")
    listed, left_out = plan()
    for line in left_out:
        print(line)
    seconds = {}
    for item in listed:
        if item.record.exists():
            print(f"finished   {item.name}")
            continue
        if minutes <= 0:
            break
        minutes -= item.minutes
        where = ("--results", str(tried), "--runs", str(tried), "--epochs", "1")
        began = time.monotonic()
        if call(item.command(*options, *where), item.log, EPOCH):
            (record,) = tried.rglob("*.json")
            (epoch,) = json.loads(record.read_text(encoding="utf-8"))["epochs"]
            start = time.monotonic() - began - epoch["seconds"]
            seconds[item.name] = start, epoch["seconds"]
            print(
                f"works      {item.name}: {start:.0f} s to begin, {epoch['seconds']:.1f} s an epoch"
            )
        else:
            seconds[item.name] = math.inf, math.inf
            print(f"fails      {item.name}: {last_words(item.log)}")
        shutil.rmtree(tried, ignore_errors=True)
    (FOLDER / "check.json").write_text(json.dumps(seconds, indent=1), encoding="utf-8")
    return seconds


def run(minutes: float, options: Sequence[str]) -> int:
    """Train what works, in rounds, until the time is up; the exit status."""
    deadline = time.monotonic() + 60 * minutes - GRACE
    found = FOLDER / "check.json"
    seconds = json.loads(found.read_text()) if found.exists() else check(options, minutes)
    left = [item for item in plan()[0] if not item.record.exists()]
    failed = any(math.inf in pair for pair in seconds.values())
    while left:
        again = []
        for item in left:
            start, epoch = seconds.get(item.name, (GRACE, 0.0))
            # Twice what was expected, and room for some epochs if that was far too little.
            wanted = start + max(120 * item.minutes, 3 * epoch)
            budget = min(wanted, deadline - time.monotonic())
            if budget < start + epoch:
                continue
            began = time.monotonic()
            given = ("--resume", "--minutes", f"{(budget - start) / 60:.3f}")
            done = call(item.command(*options, *given), item.log, budget + GRACE)
            state = "finished" if item.record.exists() else "goes on" if done else "fails"
            words = "" if done else f": {last_words(item.log)}"
            print(f"{state:10} {item.name}, {time.monotonic() - began:.0f} s{words}")
            failed |= not done
            if done and not item.record.exists():
                again.append(item)
        left = again
    return int(failed)


def call(command: Sequence[str], log: Path, seconds: float) -> bool:
    """Run a command with its output in a log, for so long at most; whether it succeeded."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "packages"), os.environ.get("PYTHONPATH", "")])
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, stdout=file, stderr=file
        )
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            file.write(f"stopped after {seconds:.0f} s\n")
            process.send_signal(signal.SIGINT)  # its workers end with it
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            return False


def last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no word"


def collect(out: Path, checkpoints: bool, size: float) -> int:
    """Pack records and logs, and checkpoints if they are asked for."""
    folders = {FOLDER}
    for benchmark in {entry["benchmark"] for entry in entries()}:
        folders.add(ROOT / "data/results" / benchmark)
        if checkpoints:
            folders.add(ROOT / "runs" / benchmark)
    there = [folder for folder in sorted(folders) if folder.is_dir()]
    pack.make(out, [f"{folder}={folder.relative_to(ROOT)}" for folder in there], False, None, size)
    for path in sorted(out.iterdir()):
        print(f"{path.name} {path.stat().st_size / 1e6:.2f} MB")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="action", required=True)
    made = commands.add_parser("pack", help="here: pack what is needed there")
    made.add_argument("out", type=Path, metavar="PACK", help="folder to write")
    made.add_argument(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        metavar="SET=DIR",
        help="a data set and its folder",
    )
    made.add_argument(
        "--wheels", type=Path, metavar="DIR", help="folder of wheels to install there"
    )
    made.add_argument("--runs", action="store_true", help="pack checkpoints, too")
    made.add_argument("--size", type=float, default=60, help="limit of a part in MB; default: 60")
    commands.add_parser("check", help="there: check the machine, and train an epoch of each run")
    made = commands.add_parser("run", help="there: check, if that was not done, and train")
    made.add_argument(
        "--minutes", type=float, required=True, help="limit of check and training together"
    )
    made = commands.add_parser("collect", help="there: pack the results")
    made.add_argument("out", type=Path, metavar="BACK", help="folder to write")
    made.add_argument("--checkpoints", action="store_true", help="pack checkpoints, too")
    made.add_argument("--size", type=float, default=15, help="limit of a part in MB; default: 15")
    options, rest = parser.parse_known_args(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # whoever stops it sees what was said
    if rest and options.action not in ("check", "run"):
        parser.error(f"unknown: {' '.join(rest)}")
    if options.action == "pack":
        pairs = dict(pair.split("=", 1) for pair in options.data)
        folders = {name: Path(folder) for name, folder in pairs.items()}
        return carry(options.out, folders, options.wheels, options.runs, options.size)
    if options.action == "check":
        return 0 if check(rest) else 1
    if options.action == "run":
        return run(options.minutes, rest)
    return collect(options.out, options.checkpoints, options.size)


if __name__ == "__main__":
    sys.exit(main())
