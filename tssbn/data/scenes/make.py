"""From a recipe and a seed to a data set: what rooms and streets share."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ..cache import cached
from ..stored import Stored
from ..target import Target
from .dice import Dice
from .labels import BLOBS, disturb
from .paint import alike
from .solids import Scene
from .view import View, look

__all__ = ["SPLITS", "Recipe", "make"]

SPLITS = ("train", "val", "test")
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

    Every random number comes from a generator of (seed, split) and of what it is for, and every
    scene takes as many. So the splits are disjoint, the first scenes of a set of any length are
    the same, and a knob changes only what it is meant to change.

    Args:
        layout: the scene that the dice give. Zoom and look-alikes are added to it here.
        encode: the entries of all tasks from what the camera sees, in the types to keep.
        targets: of all tasks; ``tasks`` chooses among them.

    Raises:
        ValueError: an argument is out of its range.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be an integer from 1 up, got {n!r}")
    if not isinstance(seed, int) or not 0 <= seed < 2**27:
        raise ValueError(f"seed must be an integer from 0 to {2**27 - 1}, got {seed!r}")
    for what, given in (("tasks", tasks), ("label_noise of the recipe", recipe.label_noise)):
        wrong = [task for task in given if task not in targets]
        if wrong or isinstance(given, str):
            raise ValueError(f"{what} must be among {tuple(targets)}, got {wrong or given!r}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device must be one that torch can use here, got {device!r}: {error}"
        ) from None
    if not tasks or len(set(tasks)) < len(tasks):
        raise ValueError(f"tasks must name one or more tasks, each once, got {tasks!r}")

    def made() -> dict[str, Tensor]:
        return _render(name, recipe, layout, encode, targets, split, n, seed, device)

    ordered = replace(recipe, label_noise=dict(sorted(recipe.label_noise.items())))
    told = repr((ordered, split, n, seed))
    key = hashlib.sha256(told.encode() + _source()).hexdigest()[:16]
    tensors = cached(f"{name}-{split}-{n}-{key}", made)
    chosen = {task: targets[task] for task in tasks}
    return Stored({k: tensors[k] for k in ("image", *tasks)}, chosen)


def _source() -> bytes:
    """Of all that decides what is made."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return b"".join(file.read_bytes() for file in files)


def _render(
    name: str, recipe: Recipe, layout: Callable, encode: Callable, targets: Mapping[str, Target],
    split: str, n: int, seed: int, device: torch.device | str,
) -> dict[str, Tensor]:  # fmt: skip
    def stream(purpose: int) -> torch.Generator:
        return torch.Generator().manual_seed(16 * seed + 4 * SPLITS.index(split) + purpose)

    for_layout, for_knobs, for_sensor, for_labels = map(stream, range(4))
    height, width = recipe.height, recipe.width
    chunk = max(CHUNK // (height * width), 1)

    def draw(start: int) -> tuple[list[Scene], Tensor, Tensor]:
        scenes = [
            _turn(layout(Dice(for_layout), recipe), Dice(for_knobs), recipe)
            for _ in range(start, min(start + chunk, n))
        ]
        sensor = torch.rand(len(scenes), 7, height, width, generator=for_sensor)
        return scenes, sensor, torch.rand(len(scenes), len(targets), *BLOBS, generator=for_labels)

    def shoot(scenes: list[Scene], sensor: Tensor, wrong: Tensor) -> dict[str, Tensor]:
        view = look(scenes, height, width, sensor, recipe.contrast, recipe.relief, device)
        entries = {"image": view.image} | encode(view, recipe)
        for k, (task, target) in enumerate(targets.items()):
            if amount := recipe.label_noise.get(task):
                entries[task] = disturb(entries[task], target, amount, wrong[:, k])
        return entries

    tensors: dict[str, Tensor] = {}
    drawn = map(draw, _bar(range(0, n, chunk), f"{name} {split}"))
    start = 0
    for entries in _side_by_side(shoot, drawn, device):
        stop = start + len(entries["image"])
        for task, value in entries.items():
            if start == 0:
                tensors[task] = torch.empty(n, *value.shape[1:], dtype=value.dtype)
            tensors[task][start:stop] = value
        start = stop
    return tensors


def _side_by_side(
    function: Callable, jobs: Iterable[tuple], device: torch.device | str
) -> Iterator[dict[str, Tensor]]:
    """``function(*job)`` for the jobs in their order, computed by as many threads as torch uses.

    Each thread works on a chunk that fits its cache; torch's own threads would share every small
    operation, and wait for each other all the time.
    """
    threads = torch.get_num_threads() if torch.device(device).type == "cpu" else 1
    try:
        with ThreadPoolExecutor(threads, "render", torch.set_num_threads, (1,)) as pool:
            waiting: deque[Future] = deque()
            for job in jobs:
                waiting.append(pool.submit(function, *job))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(threads)  # the setting of one thread is that of those to come


def _turn(scene: Scene, dice: Dice, recipe: Recipe) -> Scene:
    """The knobs that change the scene itself."""
    u = dice.uniform(-recipe.zoom, recipe.zoom)
    focal = scene.camera.focal * (1 + u if u > 0 else 1 / (1 - u))
    return replace(
        scene,
        camera=scene.camera._replace(focal=focal),
        solids=[alike(solid, dice, recipe.lookalike) for solid in scene.solids],
    )


def _bar(chunks: Sequence[int], text: str) -> Iterable[int]:
    """A progress bar on a terminal, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return chunks
    return tqdm(chunks, text, disable=None, leave=False)
