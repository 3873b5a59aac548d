"""From a recipe and a seed to a data set: what rooms and streets share."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tssbn.data.chunks import progress
from tssbn.data.stored import Stored
from tssbn.data.synthetic.cache import cached, digest
from tssbn.data.synthetic.same import float32_on_cpu
from tssbn.data.target import Target

from .dice import Dice
from .labels import BLOBS, disturb
from .paint import alike
from .solids import Scene
from .view import View, look

__all__ = ["SPLITS", "Recipe", "make"]

SPLITS = ("train", "val", "test")
LONGEST = 2**17  # scenes in a data set
SEEDS = 10922  # every scene has a seed of its own among the 2**32 that a generator tells apart
CHUNK = 49152  # pixels rendered at once: few enough for the cache of a processor


@dataclass(frozen=True)
class Recipe:
    """The knobs that all made scenes have. The same seed gives the same scenes under all of them.

    Args:
        height, width: of the pictures in pixels, multiples of 8. The scenes stay the same.
        contrast: of the textures, 0 (every solid has one colour) to 2; pictures only. Less makes
            segmentation harder where classes differ by texture, and depth where only texture
            shows how far a surface is.
        relief: tilts surfaces by smooth random waves of about 20 cm, by up to about this tangent,
            0 to 1. They enter the normals and the shading, but neither depth nor labels: harder
            for normals alone.
        zoom: the focal length is multiplied by a random number between 1/(1 + zoom) and 1 + zoom,
            which nothing in the picture tells directly: harder for depth above all.
        lookalike: the share of objects and surfaces, 0 to 1, that are painted with colours and
            textures that all classes share; pictures only. Segmentation must go by shape.
        label_noise: how wrong the labels of a task are, by its name. Classes: the share of the
            picture covered by blobs (8 of them across) that show another class of the set.
            Depth and disparity: the largest relative error, constant over such a blob. Normals:
            the tangent of the largest tilt. Void stays void. Wrong labels are for training
            splits; test with a recipe without them.

    Raises:
        ValueError: a number outside its range.
    """

    height: int = 96
    width: int = 128
    contrast: float = 1.0
    relief: float = 0.0
    zoom: float = 0.0
    lookalike: float = 0.0
    label_noise: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 16 or value % 8:
                raise ValueError(f"{name} must be a multiple of 8 from 16 up, got {value!r}")
        limits = {"contrast": 2, "relief": 1, "zoom": 1, "lookalike": 1}
        for name, most in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ValueError(f"{name} must be between 0 and {most}, got {value!r}")
        for task, value in self.label_noise.items():
            if not 0 <= value <= 1:
                raise ValueError(f"label_noise[{task!r}] must be between 0 and 1, got {value!r}")


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
    device: torch.device | str,
) -> Stored:
    """A data set of rendered scenes, from the cache or made now.

    Every scene has a generator of its own, seeded by (seed, split, index), and takes as many
    numbers from it for everything that is drawn. So the splits are disjoint, the first scenes of a
    set of any length are the same, and a knob changes only what it is meant to change.

    Args:
        layout: the scene that the dice give. Zoom and look-alikes are added to it here.
        encode: the entries of all tasks from what the camera sees, in the types to keep.
        targets: of all tasks; ``tasks`` chooses among them.

    Raises:
        ValueError: an argument is out of its range.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    for what, given, least, most in (("n", n, 1, LONGEST), ("seed", seed, 0, SEEDS - 1)):
        if not isinstance(given, int) or not least <= given <= most:
            raise ValueError(f"{what} must be an integer from {least} to {most}, got {given!r}")
    for what, given in (("tasks", tasks), ("label_noise of the recipe", recipe.label_noise)):
        wrong = [task for task in given if task not in targets]
        if wrong or isinstance(given, str):
            raise ValueError(f"{what} must be among {tuple(targets)}, got {wrong or given!r}")
    try:
        torch.empty(0, dtype=torch.float64, device=device)  # which the roots are taken in
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device must be one that torch can use here, got {device!r}: {error}"
        ) from None
    if not tasks or len(set(tasks)) < len(tasks):
        raise ValueError(f"tasks must name one or more tasks, each once, got {tasks!r}")

    def made() -> dict[str, Tensor]:
        return _render(name, recipe, layout, encode, targets, split, n, seed, device)

    ordered = replace(recipe, label_noise=dict(sorted(recipe.label_noise.items())))
    key = f"{name}-{split}-{n}-{digest((ordered, split, n, seed), Path(__file__).parent)}"
    with float32_on_cpu():
        tensors = cached(key, made)
    chosen = {task: targets[task] for task in tasks}
    return Stored({k: tensors[k] for k in ("image", *tasks)}, chosen)


def _render(
    name: str, recipe: Recipe, layout: Callable, encode: Callable, targets: Mapping[str, Target],
    split: str, n: int, seed: int, device: torch.device | str,
) -> dict[str, Tensor]:  # fmt: skip
    height, width = recipe.height, recipe.width
    first = (seed * len(SPLITS) + SPLITS.index(split)) * LONGEST

    def draw(index: int) -> tuple[Scene, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(first + index)
        scene = _turn(layout(Dice(generator), recipe), Dice(generator), recipe)
        wrong = torch.rand(len(targets), *BLOBS, generator=generator)
        return scene, wrong, torch.rand(7, height, width, generator=generator)

    def shoot(chunk: range) -> dict[str, Tensor]:
        scenes, wrong, noise = zip(*map(draw, chunk), strict=True)
        noise = torch.stack(noise)
        view = look(scenes, height, width, noise, recipe.contrast, recipe.relief, device)
        entries = {"image": view.image} | encode(view, recipe)
        for k, (task, target) in enumerate(targets.items()):
            if amount := recipe.label_noise.get(task):
                numbers = torch.stack([numbers[k] for numbers in wrong])
                entries[task] = disturb(entries[task], target, amount, numbers)
        return {task: value.cpu() for task, value in entries.items()}

    at_once = max(CHUNK // (height * width), 1)
    chunks = [range(n)[start : start + at_once] for start in range(0, n, at_once)]
    tensors: dict[str, Tensor] = {}
    for chunk, entries in zip(
        progress(chunks, f"{name} {split}"), _side_by_side(shoot, chunks, device), strict=True
    ):
        for task, value in entries.items():
            if task not in tensors:
                tensors[task] = value.new_empty(n, *value.shape[1:])
            tensors[task][chunk.start : chunk.stop] = value
    return tensors


def _side_by_side(
    function: Callable, jobs: Sequence, device: torch.device | str
) -> Iterator[dict[str, Tensor]]:
    """``function`` of the jobs, in their order.

    On Linux as many processes share them as torch uses threads: its threads would share every
    small operation instead, and wait for each other all the time. Elsewhere a process cannot be
    forked safely.
    """
    workers = min(torch.get_num_threads(), len(jobs) // 2)
    forks = sys.platform == "linux" and not multiprocessing.current_process().daemon
    if workers < 2 or not forks or torch.device(device).type != "cpu":
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


def _turn(scene: Scene, dice: Dice, recipe: Recipe) -> Scene:
    """The knobs that change the scene itself."""
    u = dice.uniform(-recipe.zoom, recipe.zoom)
    focal = scene.camera.focal * (1 + u if u > 0 else 1 / (1 - u))
    return replace(
        scene,
        camera=scene.camera._replace(focal=focal),
        solids=[alike(solid, dice, recipe.lookalike) for solid in scene.solids],
    )
