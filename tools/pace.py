"""How many images a second does each method train, and in which precision and format the most?

    python tools/pace.py [nyuv2 celeba] [--methods tssbn ...] [--seconds 1] [--device cuda]

A short look before long runs. The trainer trains on noise of the benchmark's size, augmented and
all, a few steps to warm up and then for the given time: first TSσBN in some precisions and memory
formats, then the others in the fastest of them. Printed are images and TFLOPs a second, the share
of what a large product of matrices reaches in that precision, the memory of a GPU, and how many
minutes all epochs of the official data set would take, if a tested image counts as a third of a
trained one. The record is data/results/pace/<NAME>.json, written anew after each line.
"""

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from tssbn import records
from tssbn.cost import macs
from tssbn.data import real_set
from tssbn.data.stored import Stored
from tssbn.methods import methods
from tssbn.records.table import ORDER
from tssbn.timing.rounds import matmul, rounds
from tssbn.training.describe import device_name, peak_memory
from tssbn.training.loop import train
from tssbn.training.processes import numerics
from tssbn.training.run import Run, plan
from tssbn.training.watch import Silent

WARM = 4  # steps in which libraries choose their kernels
STEPS = 64  # at most, with those
SIZES = {"nyuv2": (288, 384), "celeba": (64, 64)}
METHODS = [method for method in ORDER[::-1] if method != "tsbn-x100"]  # tsbn by another rate
WAYS = [  # the first method is measured in all, the others in the fastest
    {"precision": precision, "channels_last": last, "fast_kernels": fast}
    for precision, last, fast in (
        ("32", False, True),
        ("tf32", False, True),
        ("tf32", True, True),
        ("bf16", False, True),
        ("bf16", True, True),
        ("bf16", True, False),
    )
]


class Done(Exception):
    """Enough steps have been seen."""


class Clock(Silent):
    """Times steps, and ends the run with :class:`Done`; ``pace`` is seconds of a step."""

    def __init__(self, seconds: float) -> None:
        self.limit = seconds

    def begin(self, run: Run, epochs: int, steps: int, first_epoch: int) -> None:
        self.last = steps

    def step(self, epoch: int, step: int, losses: Callable[[], dict[str, float]]) -> None:
        if step == WARM:
            losses()  # waits for the device
            self.began = time.perf_counter()
        elif step == self.last or (step > WARM and time.perf_counter() > self.began + self.limit):
            losses()
            self.pace = (time.perf_counter() - self.began) / (step - WARM)
            raise Done


@cache
def noise(benchmark: str, n: int, height: int, width: int) -> Stored:
    """Random images with all targets of a benchmark."""

    def draw(below: int, *shape: int) -> torch.Tensor:
        return torch.randint(below, (n, *shape), dtype=torch.uint8)

    made = {
        "classes": lambda: draw(13, height, width),
        "depth": lambda: 1 + draw(9, 1, height, width).half(),
        "normal": lambda: F.normalize(draw(9, 3, height, width) - 4.5, dim=1).half(),
        "attribute": lambda: draw(2),
    }
    targets = real_set(benchmark).targets
    entries = {name: made[target.kind]() for name, target in targets.items()}
    return Stored({"image": draw(256, 3, height, width), **entries}, targets)


@cache
def on_noise(benchmark: str, method: str, size: tuple[int, int]) -> Run:
    """A run on noise; the same for the same arguments."""
    run = plan(benchmark, method, root=".")
    data = noise(benchmark, STEPS * run.benchmark.recipe.batch, *size)
    return replace(run, benchmark=replace(run.benchmark, data=lambda split: data))


@cache
def multiplications(benchmark: str, method: str, size: tuple[int, int]) -> int:
    """MACs for an image, of all tasks."""
    run = on_noise(benchmark, method, size)
    data = run.benchmark.data("train")
    outputs = {name: task.outputs for name, task in run.benchmark.tasks(data.targets).items()}
    net = methods()[run.method].build(run.benchmark.network, outputs).to("meta")
    return macs(net, torch.empty(1, *data[0]["image"].shape, device="meta"))


@cache
def peak(device: str, precision: str) -> float:
    """MACs a second of a large product of matrices."""
    with numerics(precision):
        product, count = matmul(device, precision)
        times = [now["matmul"] for now in rounds({"matmul": product}, 5, device)]
    return count / statistics.median(times)


def measure(
    benchmark: str,
    method: str,
    size: tuple[int, int],
    way: dict[str, Any],
    seconds: float,
    device: str,
) -> dict[str, Any]:
    """An entry of the record; with ``error`` where this method does not run in this way."""
    entry = {"benchmark": benchmark, "method": method, "size": list(size), **way}
    run, clock = on_noise(benchmark, method, size), Clock(seconds)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        train(run, accelerator=device, watch=clock, **way)
    except Done:
        entry["peak_memory_mib"] = peak_memory(torch.device(device))
    except Exception as error:  # what else a device finds: the look goes on
        entry["error"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    gc.collect()  # an error holds the network, whose memory the next one needs
    if device == "cuda":
        torch.cuda.empty_cache()
    if "error" in entry:
        return entry
    recipe, official = run.benchmark.recipe, real_set(benchmark).official
    trained, tested = official["train"], sum(official.values()) - official["train"]
    rate = recipe.batch / clock.pace
    done = 3 * multiplications(benchmark, method, size) * rate  # forward, and twice that backward
    return {
        **entry,
        "images_per_second": rate,
        "tflops": 2 * done / 1e12,
        "share_of_peak": done / peak(device, way["precision"]),
        "minutes": recipe.epochs * (trained + tested / 3) / rate / 60,
    }


def line(entry: dict[str, Any]) -> str:
    """An entry of the record, as a row."""
    way = entry["precision"] + ", channels last" * entry["channels_last"]
    way += ", fast kernels" * entry["fast_kernels"]
    start = f"{entry['benchmark']:6}  {entry['method']:12}  {way:33}"
    if "error" in entry:
        return f"{start} {entry['error'][:80]}"
    return (
        f"{start} {entry['images_per_second']:8.1f} images/s {entry['tflops']:7.2f} TFLOP/s "
        f"({entry['share_of_peak']:5.1%}) {entry['peak_memory_mib'] / 1024:6.1f} GiB "
        f"{entry['minutes']:8.1f} minutes"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("benchmarks", nargs="*", metavar="BENCHMARK", help="nyuv2, celeba; both")
    parser.add_argument("--methods", nargs="+", choices=ORDER, default=METHODS)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement; 1")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="of the images")
    parser.add_argument("--out", metavar="NAME", help="of the record; the device without it")
    parser.add_argument("--results", type=Path, help="folder of the records; data/results")
    options = parser.parse_args(arguments)
    chosen = options.benchmarks or list(SIZES)
    if set(chosen) - set(SIZES):
        parser.error(f"benchmarks are {', '.join(SIZES)}, got {', '.join(chosen)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU: --device cpu")

    record: dict[str, Any] = {"device": device_name(torch.device(options.device))}
    record |= {**records.environment(), "entries": []}

    def look(benchmark: str, method: str, way: dict[str, Any]) -> dict[str, Any]:
        size = tuple(options.size or SIZES[benchmark])
        entry = measure(benchmark, method, size, way, options.seconds, options.device)
        print(line(entry), flush=True)
        record["entries"].append(entry)
        records.write(f"pace/{options.out or options.device}", record, options.results)
        return entry

    first, *others = options.methods
    for benchmark in chosen:
        found = [look(benchmark, first, way) for way in WAYS]
        fastest = max(found, key=lambda entry: entry.get("images_per_second", 0.0))
        way = {key: fastest[key] for key in WAYS[0]}
        for method in others:
            look(benchmark, method, way)
    return 0


if __name__ == "__main__":
    sys.exit(main())
