"""Makes data sets of rendered scenes; rooms and streets share this code."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tssbn.data.chunks import progress
from tssbn.data.stored import Stored
from tssbn.data.synthetic.make import SPLITS, check_integer, check_split, kept
from tssbn.data.target import Target

from .dice import Dice
from .solids import Scene
from .view import View, look

__all__ = ["Recipe", "make"]

LONGEST = 2**17  # scenes in a data set
SEEDS = 10922  # every scene has a seed of its own among the 2**32 that a generator tells apart
CHUNK = 49152  # pixels rendered at once: few enough for the cache of a processor


@dataclass(frozen=True)
class Recipe:
    """The settings of rooms and streets. The same seed gives the same scenes with all settings.

    Args:
        height, width: the size of the pictures in pixels, multiples of 8.
        zoom: the focal length of each picture is multiplied by a random number between
            1/(1 + zoom) and 1 + zoom. The picture does not show this number directly, so
            depth above all is harder.

    Raises:
        ValueError: a number is out of its range.
    """

    height: int = 96
    width: int = 128
    zoom: float = 0.0

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 16 or value % 8:
                raise ValueError(f"{name} must be a multiple of 8 from 16 up, got {value!r}")
        if not 0 <= self.zoom <= 1:
            raise ValueError(f"zoom must be between 0 and 1, got {self.zoom!r}")


def make(
    name: str,
    recipe: Recipe,
    layout: Callable[[Dice, Recipe], Scene],
    encode: Callable[[View, Recipe], dict[str, Tensor]],
    targets: Mapping[str, Target],
    tasks: Sequence[str],
    split: str,
    n: int,
    seed: int,
    unused: int,
) -> Stored:
    """Make a data set of rendered scenes, or read it from the cache.

    Each scene has its own random generator, seeded by (seed, split, index), and always takes the
    same number of random numbers from it. So the splits are disjoint, data sets of different length
    begin with the same scenes, and a setting changes only what it is meant to change.

    Args:
        name: the name of the data set, with which the name of the cached file begins.
        recipe: the settings.
        layout: makes a scene from random numbers. The zoom is applied afterwards.
        encode: computes the entries of all tasks from the view of the camera, in the types in which
            they are kept.
        targets: the targets of all tasks.
        tasks: the tasks that the samples have.
        split, n, seed: as in ``rooms``.
        unused: how many random numbers of a scene are skipped before the noise of its picture. This
            keeps the pictures equal to those of earlier versions.

    Raises:
        ValueError: an argument is out of its range.
    """
    check_split(split)
    check_integer("n", n, 1, LONGEST)
    check_integer("seed", seed, 0, SEEDS - 1)
    wrong = [task for task in tasks if task not in targets]
    if wrong or isinstance(tasks, str):
        raise ValueError(f"tasks must be among {tuple(targets)}, got {wrong or tasks!r}")
    if not tasks or len(set(tasks)) < len(tasks):
        raise ValueError(f"tasks must name one or more tasks, each once, got {tasks!r}")

    def render() -> dict[str, Tensor]:
        return _render(name, recipe, layout, encode, split, n, seed, unused)

    tensors = kept(name, split, n, seed, recipe, render, Path(__file__).parent)
    chosen = {task: targets[task] for task in tasks}
    return Stored({k: tensors[k] for k in ("image", *tasks)}, chosen)


def _render(
    name: str, recipe: Recipe, layout: Callable, encode: Callable, split: str, n: int, seed: int,
    unused: int,
) -> dict[str, Tensor]:  # fmt: skip
    height, width = recipe.height, recipe.width
    first = (seed * len(SPLITS) + SPLITS.index(split)) * LONGEST

    def draw(index: int) -> tuple[Scene, Tensor]:
        generator = torch.Generator().manual_seed(first + index)
        scene = _zoomed(layout(Dice(generator), recipe), Dice(generator), recipe.zoom)
        torch.rand(unused, generator=generator)
        return scene, torch.rand(7, height, width, generator=generator)

    def shoot(chunk: range) -> dict[str, Tensor]:
        scenes, noise = zip(*map(draw, chunk), strict=True)
        view = look(scenes, height, width, torch.stack(noise))
        return {"image": view.image} | encode(view, recipe)

    at_once = max(CHUNK // (height * width), 1)
    chunks = [range(n)[start : start + at_once] for start in range(0, n, at_once)]
    tensors: dict[str, Tensor] = {}
    for chunk, entries in zip(
        progress(chunks, f"{name} {split}"), _side_by_side(shoot, chunks), strict=True
    ):
        for task, value in entries.items():
            if task not in tensors:
                tensors[task] = value.new_empty(n, *value.shape[1:])
            tensors[task][chunk.start : chunk.stop] = value
    return tensors


def _side_by_side(function: Callable, jobs: Sequence) -> Iterator[dict[str, Tensor]]:
    """``function`` of the jobs, in their order.

    On Linux as many processes share them as torch uses threads, and no more than there are cores:
    threads would share every small operation instead, and wait for each other all the time.
    Elsewhere a process cannot be forked safely.
    """
    workers = 1
    if sys.platform == "linux" and not multiprocessing.current_process().daemon:
        workers = min(torch.get_num_threads(), len(os.sched_getaffinity(0)), len(jobs) // 2)
    if workers < 2:
        yield from map(function, jobs)
        return
    loader = DataLoader(
        jobs,
        batch_size=None,
        collate_fn=function,
        num_workers=workers,
        generator=torch.Generator(),  # else it draws from the caller's random numbers
        multiprocessing_context="fork",
    )
    with warnings.catch_warnings():  # of Python 3.12: the workers use none of the other threads
        warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
        results = iter(loader)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # those that copy results would get in the way of the workers
    try:
        yield from results
    finally:
        torch.set_num_threads(threads)


def _zoomed(scene: Scene, dice: Dice, zoom: float) -> Scene:
    """The scene through another lens."""
    u = dice.uniform(-zoom, zoom)
    focal = scene.camera.focal * (1 + u if u > 0 else 1 / (1 - u))
    return replace(scene, camera=scene.camera._replace(focal=focal))
