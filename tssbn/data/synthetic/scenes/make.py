"""From a recipe and a seed to a data set: what rooms and streets share."""

from __future__ import annotations

import multiprocessing
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
    """The knobs that all scenes have. The same seed gives the same scenes under all of them.

    Args:
        height, width: of the pictures in pixels, multiples of 8. The scenes stay the same.
        zoom: the focal length is multiplied by a random number between 1/(1 + zoom) and 1 + zoom,
            which nothing in the picture tells directly: harder for depth above all.

    Raises:
        ValueError: a number outside its range.
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
    """A data set of rendered scenes, from the cache or rendered now.

    Every scene has a generator of its own, seeded by (seed, split, index), and takes as many
    numbers from it for everything that is drawn. So the splits are disjoint, the first scenes of a
    set of any length are the same, and a knob changes only what it is meant to change.

    Args:
        layout: the scene that the dice give. The zoom is added to it here.
        encode: the entries of all tasks from what the camera sees, in the types to keep.
        targets: of all tasks; ``tasks`` chooses among them.
        unused: how many numbers of a scene's generator are passed over before the noise of its
            picture. They keep the bits of all pictures as they have always been.

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

    On Linux as many processes share them as torch uses threads: its threads would share every
    small operation instead, and wait for each other all the time. Elsewhere a process cannot be
    forked safely.
    """
    workers = min(torch.get_num_threads(), len(jobs) // 2)
    forks = sys.platform == "linux" and not multiprocessing.current_process().daemon
    if workers < 2 or not forks:
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
