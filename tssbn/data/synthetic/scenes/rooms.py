"""Synthetic rooms with the 13 classes of NYUv2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tssbn.data.stored import Stored
from tssbn.data.target import Target

from .dice import Dice
from .interior import CEILING, CLASSES, FLOOR, TV, VOID, WALL, WINDOW
from .labels import HUMAN_PARTS, PARTS, boundary, hidden, to_human
from .layout import furnished
from .make import Recipe, make
from .paint import scramble
from .solids import Camera, Scene
from .view import View

__all__ = ["CLASSES", "GROUPS", "Rooms", "intrinsics", "rooms"]

#: The four structural classes of NYUv2, and which of them each of the 13 classes falls into.
GROUPS = ("floor", "structure", "furniture", "props")
_GROUP = (2, 3, 1, 2, 0, 2, 3, 3, 2, 2, 3, 1, 1)
PROJECTOR = 0.075  # metres from the eye of a Kinect to its projector
UNUSED = 1536  # random numbers: see make


@dataclass(frozen=True)
class Rooms(Recipe):
    """The settings of the rooms, in addition to those of :class:`~.make.Recipe`.

    Args:
        classes: 13, or 4 for the structural classes of NYUv2 (``GROUPS``): floor, structure,
            furniture and props. These differ in shape and place only.
        people: the probability, 0 to 1, that one or two people are in a room. Most of them are in
            sight.

    Raises:
        ValueError: ``classes`` is another number, or ``people`` is outside of 0 to 1.
    """

    classes: int = 13
    people: float = 0.35

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes not in (13, 4):
            raise ValueError(f"classes must be 13 or 4, got {self.classes!r}")
        if not 0 <= self.people <= 1:
            raise ValueError(f"people must be between 0 and 1, got {self.people!r}")


TARGETS = {
    "segmentation": Target("classes", CLASSES, ignore=-1),
    "depth": Target("depth", ignore=0),
    "normal": Target("normal", ignore=0),
    "parts": Target("classes", HUMAN_PARTS, ignore=-1),
    "saliency": Target("classes", ("background", "salient"), ignore=-1),
    "boundary": Target("classes", ("inside", "boundary"), ignore=-1),
}


def rooms(
    split: str = "train",
    n: int = 800,
    seed: int = 0,
    recipe: Rooms = Rooms(),
    tasks: Sequence[str] = ("segmentation", "depth", "normal"),
) -> Stored:
    """Render pictures of synthetic rooms with exact labels, in the form of NYUv2.

    The pictures are rendered at the first call and then read from the cache
    (``tssbn.data.synthetic.cache``). They are the same bits on every processor
    (``tssbn.data.synthetic.same``).

    ============ ==================================================================================
    task         what it is
    ============ ==================================================================================
    segmentation the 13 classes of NYUv2. Void (-1): people, mirrors, radiators, and thin gaps
                 along parts of the outlines, as annotators leave them.
    depth        metres along the optical axis; 0 where a depth camera of the Kinect's kind fails:
                 on window panes, in the strip to the left of near things that its projector does
                 not reach, in patches of screens and of one object in 16, and at the border.
    normal       unit normals of the surfaces, known everywhere.
    parts        six groups of human body parts, else background.
    saliency     people; in a room without any, the object that covers most pixels, those of the
                 central half counting three times. Ceiling, floor, walls, windows are no objects.
    boundary     a pixel that differs in class or object from its right or its lower neighbour.
    ============ ==================================================================================

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``; different splits have different rooms.
        n: how many pictures, at most 2**17; the first ones are the same for every ``n``.
        seed: from 0 to 10921; another seed gives other rooms.
        recipe: the settings.
        tasks: the tasks of the table that the samples have.

    Returns:
        The data set, a :class:`~tssbn.data.stored.Stored`.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> data = rooms("val", n=2, recipe=Rooms(height=32, width=48))
        >>> {name: tuple(value.shape) for name, value in data[0].items()}
        {'image': (3, 32, 48), 'segmentation': (32, 48),
         'depth': (1, 32, 48), 'normal': (3, 32, 48)}
    """
    targets = TARGETS
    if recipe.classes == 4:
        targets = TARGETS | {"segmentation": Target("classes", GROUPS, ignore=-1)}
    return make("rooms", recipe, layout, encode, targets, tasks, split, n, seed, UNUSED)


def intrinsics(height: int, width: int) -> Tensor:
    """Return the camera matrix K (3, 3) of the rooms, for pictures without ``zoom``.

    Its unit is a pixel, and the centre of a pixel in row i and column j is (j + 1/2, i + 1/2). If
    its depth is z, it shows the point z * K⁻¹ (j + 1/2, i + 1/2, 1). The focal length is 0.81 times
    the width, as that of the NYUv2 camera.

    Example:
        >>> intrinsics(96, 128)[0, 0]
        tensor(103.6800)
    """
    focal = Camera((0.0, 0.0, 0.0)).focal * width
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def layout(dice: Dice, recipe: Rooms) -> Scene:
    """Make one room from random numbers."""
    return furnished(dice, recipe.people)


def encode(view: View, recipe: Rooms) -> dict[str, Tensor]:
    """Compute the entries of the samples from what the camera sees."""
    edge = boundary(view.label, view.instance)
    segmentation = view.label.to(torch.int8)
    if recipe.classes == 4:
        # void, -1, picks the last entry
        group = torch.tensor((*_GROUP, VOID), dtype=torch.int8)
        segmentation = group[view.label.long()]
    gap = (edge == 1) & (_blocks(view.chance, 8) < 0.5)
    return {
        "segmentation": segmentation.masked_fill(gap, VOID),
        "depth": view.depth.masked_fill(_holes(view), 0)[:, None],
        "normal": view.normal.half(),
        "parts": to_human(view.part),
        "saliency": _salient(view),
        "boundary": edge,
    }


def _blocks(chance: Tensor, size: int) -> Tensor:
    """(B, H, W) numbers, the same within squares of the picture."""
    return chance[:, ::size, ::size].repeat_interleave(size, 1).repeat_interleave(size, 2)


def _holes(view: View) -> Tensor:
    """Where a depth camera with a projector to its right sees nothing."""
    pane = view.part == PARTS.index("window")
    dull = (view.label == TV) | ((scramble(view.instance) & 15 == 0) & (view.instance > 0))
    holes = pane | (dull & (_blocks(view.chance, 4) < 0.4))
    holes |= hidden(view.focal[:, None, None] * PROJECTOR / view.depth)
    border = max(holes.shape[2] // 96, 1)
    holes[:, :border] = holes[:, -border:] = True
    holes[:, :, :border] = holes[:, :, -border:] = True
    return holes


def _salient(view: View) -> Tensor:
    """People, or else the most prominent object."""
    b, h, w = view.label.shape
    weight = torch.ones(h, w, dtype=torch.long)
    weight[h // 4 : h - h // 4, w // 4 : w - w // 4] = 3
    structure = torch.tensor((CEILING, FLOOR, WALL, WINDOW))
    thing = (view.instance > 0) & ~torch.isin(view.label, structure)
    votes = weight.new_zeros(b, int(view.instance.max()) + 1)
    votes.scatter_add_(1, view.instance.flatten(1).long(), (weight * thing).flatten(1))
    most = votes.shape[1]
    ranked = votes * most - torch.arange(most)  # of equal ones the first
    first = ranked.argmax(1)[:, None, None]
    people = view.part.ne(0) & view.part.le(6)
    crowded = people.flatten(1).any(1)[:, None, None]
    return torch.where(crowded, people, thing & (view.instance == first)).to(torch.int8)
