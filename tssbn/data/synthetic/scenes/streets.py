"""Streets as a driver sees them, with the classes of Cityscapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tssbn.data.stored import Stored
from tssbn.data.target import Target

from .classes import CATEGORIES, CATEGORY, CLASSES, LABEL
from .dice import Dice
from .labels import CITYSCAPES_PARTS, hidden, to_cityscapes
from .make import Recipe, make
from .solids import Camera, Scene
from .townplan import Street, build
from .traffic import populate
from .view import View
from .weather import WEATHERS, clouds, lit

__all__ = ["BASELINE", "FOCAL", "Streets", "streets"]

FOCAL = 1.105  # picture widths: 2262 of 2048 pixels in Cityscapes
BASELINE = 0.22  # metres between the two cameras of Cityscapes
NEAREST = 3.0  # metres: what is nearer has no disparity, and only our own bonnet is
UNUSED = 2048  # random numbers: see make


@dataclass(frozen=True)
class Streets(Recipe):
    """The settings of the streets, in addition to those of :class:`~.make.Recipe`.

    Args:
        width: in pixels; 192 by default, so that a picture is twice as wide as high, as in
            Cityscapes.
        classes: 19, or 7 for the categories of Cityscapes: flat (road, sidewalk), construction
            (building, wall, fence), object (pole, traffic light, traffic sign), nature (vegetation,
            terrain), sky, human (person, rider) and vehicle (the other six).

    Raises:
        ValueError: ``classes`` is another number.
    """

    width: int = 192
    classes: int = 19

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes not in (19, 7):
            raise ValueError(f"classes must be 19 or 7, got {self.classes!r}")


TARGETS = {
    "segmentation": Target("classes", CLASSES, ignore=-1),
    "parts": Target("classes", CITYSCAPES_PARTS, ignore=-1),
    "disparity": Target("disparity", ignore=-1),
    "depth": Target("depth", ignore=0),
}


def streets(
    split: str = "train",
    n: int = 800,
    seed: int = 0,
    recipe: Streets = Streets(),
    tasks: Sequence[str] = ("segmentation", "parts", "disparity"),
) -> Stored:
    """Render pictures of synthetic streets with exact labels, in the form of Cityscapes.

    The pictures are rendered at the first call and then read from the cache
    (``tssbn.data.synthetic.cache``). They are the same bits on every processor
    (``tssbn.data.synthetic.same``).

    ============ ==================================================================================
    task         what it is
    ============ ==================================================================================
    segmentation the 19 classes of Cityscapes in the order of its train ids, or its 7 categories.
                 Void (-1): the bonnet of our own car, litter bins.
    parts        torso, head, arms and legs of people and riders; windows, wheels, lights, plate
                 and chassis of cars, lorries and buses; else background.
    disparity    ``FOCAL`` * width * ``BASELINE`` / depth: pixels of this picture, as Cityscapes'
                 are those of its resized one. -1 (invalid) for the sky, our bonnet, and what the
                 right camera does not see: the left border, and strips left of near things.
    depth        metres along the optical axis; 0 where the disparity is invalid.
    ============ ==================================================================================

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``; different splits have different streets.
        n: how many pictures; the first ones are the same for every ``n``.
        seed: from 0 to 10921; another seed gives other streets.
        recipe: the settings.
        tasks: the tasks of the table that the samples have.

    Returns:
        The data set, a :class:`~tssbn.data.stored.Stored`.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> data = streets("val", n=2, recipe=Streets(height=32, width=64))
        >>> data[0]["image"].shape, data[0]["disparity"].shape
        (torch.Size([3, 32, 64]), torch.Size([1, 32, 64]))
    """
    targets = TARGETS
    if recipe.classes == 7:
        targets = TARGETS | {"segmentation": Target("classes", CATEGORIES, ignore=-1)}
    return make("streets", recipe, layout, encode, targets, tasks, split, n, seed, UNUSED)


def layout(dice: Dice, recipe: Streets) -> Scene:
    """Make one street from random numbers."""
    weather = dice.choice((*WEATHERS[:3], *WEATHERS))  # dusk is rarer
    street = Street(_fresh(dice), weather.lamps)
    build(street)
    populate(street, _fresh(dice))
    solids = street.solids + clouds(dice, weather)
    eye = (dice.uniform(-0.3, 0.3), dice.uniform(1.22, 1.4), 0.0)
    camera = Camera(eye, dice.uniform(-5, 5), dice.uniform(-2.4, -0.6), FOCAL)
    return lit(dice, weather, camera, solids)


def _fresh(dice: Dice) -> Dice:
    """As many numbers again: a street takes more than those of one scene."""
    return Dice(torch.Generator().manual_seed(dice.seed() << 20 | dice.seed()))


def encode(view: View, recipe: Streets) -> dict[str, Tensor]:
    """Compute the entries of the samples from what the camera sees."""
    segmentation = view.label.to(torch.int8)
    if recipe.classes == 7:
        category = torch.tensor((*CATEGORY, -1), dtype=torch.int8)
        segmentation = category[view.label.long()]  # index -1 is the last one: void stays void
    disparity = (view.focal * BASELINE)[:, None, None] / view.depth
    sky = view.label == LABEL["sky"]
    column = torch.arange(disparity.shape[-1]) + 0.5
    unmatched = hidden(disparity) | (column < disparity)  # behind something, or left of the border
    invalid = unmatched | (view.depth < NEAREST) | sky
    return {
        "segmentation": segmentation,
        "parts": to_cityscapes(view.part),
        "disparity": disparity.masked_fill(invalid, -1)[:, None],
        "depth": view.depth.masked_fill(invalid, 0)[:, None],
    }
