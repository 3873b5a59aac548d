"""Houses along a street."""

from __future__ import annotations

import math

from .classes import LABEL
from .dice import Dice
from .solids import Solid, Texture, Vector, box, brightened, rotation

__all__ = ["FACADES", "far_house", "house"]

FACADES = (
    *((0.62, 0.55, 0.42), (0.70, 0.68, 0.62), (0.55, 0.40, 0.24), (0.48, 0.20, 0.13)),
    *((0.35, 0.14, 0.09), (0.66, 0.52, 0.28), (0.40, 0.42, 0.43), (0.30, 0.34, 0.38)),
    *((0.58, 0.36, 0.28), (0.45, 0.50, 0.40), (0.70, 0.62, 0.50), (0.25, 0.22, 0.20)),
)
ROOFS = ((0.28, 0.08, 0.05), (0.20, 0.07, 0.05), (0.10, 0.10, 0.11), (0.14, 0.09, 0.07))
SHOPS = (
    *((0.05, 0.20, 0.40), (0.50, 0.05, 0.05), (0.05, 0.25, 0.12), (0.60, 0.40, 0.04)),
    *((0.45, 0.45, 0.43), (0.12, 0.10, 0.10), (0.35, 0.10, 0.30)),
)
PANE = (0.045, 0.06, 0.08)
WHITE = (0.8, 0.8, 0.78)


def house(
    dice: Dice, side: int, front: float, start: float, length: float, depth: float = 8.0
) -> list[Solid]:
    """A house along the street with rows of windows, a ground floor, a door and a roof.

    Args:
        side: 1 on the right of the street, -1 on its left.
        front: the distance of the facade from x = 0 in metres.
        start, length: the z where the house begins, and its length along z, in metres.
        depth: the size of the house across the street in metres.
    """
    common = {"label": LABEL["building"]}
    colour = dice.choice(FACADES)
    floors = dice.choice((1, 3, 3, 5))  # cells are counted from the middle: odd numbers fit
    storey, ground = dice.uniform(2.9, 3.5), dice.uniform(3.2, 4.2)
    top = ground + floors * storey
    windows = 2 * round(length / dice.uniform(4.0, 6.8)) + 1
    cell = (length / windows, storey)
    bricks = dice.chance(0.3)

    def block(low: float, high: float, out: float, paint: Vector, over: float = 0.0, **rest):
        """A slice of the house from ``low`` to ``high`` that stands ``out`` into the street."""
        x, thick = side * (front + (depth - out) / 2), depth + out
        size = (thick, high - low, length + 2 * over)
        main = {"casts": out == 0}
        return box((x, (low + high) / 2, start + length / 2), size, paint, **main, **common, **rest)

    def piece(low: float, high: float, out: float, z: float, width: float, paint: Vector, **rest):
        """Something flat on the facade, ``width`` along the street with its middle at z."""
        size = (0.3 + out, high - low, width)
        at = (side * (front + (0.3 - out) / 2), (low + high) / 2, start + z)
        return box(at, size, paint, casts=out > 0.5, **common, **rest)

    panes = Texture(
        cell=cell,
        joint=min(cell) * dice.uniform(0.42, 0.55),
        second=colour,
        variety=0.5,
        grain=(1.2, 1.2),
        rough=0.12,
    )
    solids = [block(ground, top, 0.0, PANE, texture=panes, seed=dice.seed(), gloss=0.15)]
    shop = dice.chance(0.55)
    if shop:
        paint = dice.choice(SHOPS)
        glazing = Texture(cell=(length / (windows // 4 * 2 + 1), 0), joint=0.35, second=paint)
        solids += [
            block(0, ground, 0.0, PANE, texture=glazing, seed=dice.seed(), gloss=0.15),
            block(ground - 0.75, ground, 0.12, paint),
            block(0, 0.5, 0.05, brightened(paint, 0.6)),
        ]
        if dice.chance(0.6):
            width = length * dice.uniform(0.3, 0.8)
            z = dice.uniform(width / 2, length - width / 2)
            stripes = Texture(cell=(0.5, 0), checks=True, second=WHITE)
            slab = box(
                (side * (front - 0.6), ground - 0.95, start + z),
                (1.3, 0.08, width),
                dice.choice(SHOPS),
                axes=rotation(roll=side * 25),
                texture=stripes,
                **common,
            )
            solids.append(slab)
    else:
        plinth = brightened(colour, dice.uniform(0.4, 0.8))
        low = panes._replace(cell=(cell[0], ground), second=plinth if dice.chance(0.5) else colour)
        solids += [
            block(0, ground, 0.0, PANE, texture=low, seed=dice.seed()),
            block(0, 0.7, 0.04, plinth),
        ]
    solids.append(block(top - 0.35, top, 0.3, brightened(colour, 0.8), over=0.05))
    if start > 60:  # the rest is too small to be seen
        return solids
    door = dice.uniform(0.8, length - 0.8)
    solids += [
        piece(0, 2.5, 0.06, door, 1.5, brightened(colour, 1.25)),
        piece(0, 2.3, 0.1, door, 1.1, dice.choice(SHOPS)),
    ]
    if bricks or dice.chance(0.5):
        solids.append(block(ground - 0.12, ground + 0.12, 0.1, brightened(colour, 1.3)))
    if dice.chance(0.6):
        tiles = Texture(cell=(0.4, 0.4), joint=0.05, second=(0.05, 0.04, 0.04), variety=0.25)
        roof = dice.choice(ROOFS)
        # A square bar on its edge: what stands out of the house is a gable roof.
        bar = (depth + 0.6) * math.sqrt(0.5)
        ridge = box(
            (side * (front + depth / 2), top, start + length / 2),
            (bar, bar, length - 0.1),
            roof,
            axes=rotation(roll=45),
            texture=tiles,
            seed=dice.seed(),
            **common,
        )
        solids.append(ridge)
        for _ in range(dice.integer(0, 3)):
            z = dice.uniform(1.2, length - 1.2)
            at = (side * (front + 1.7), top + 0.9, start + z)
            solids.append(box(at, (2.0, 1.7, 1.5), colour, casts=False, **common))
            at = (side * (front + 1.65), top + 0.95, start + z)
            solids.append(box(at, (2.0, 1.1, 0.9), PANE, gloss=0.2, casts=False, **common))
    if floors > 1 and dice.chance(0.35):
        z, rail = dice.uniform(1.5, length - 1.5), brightened(colour, dice.uniform(0.3, 1.3))
        for floor in range(1, floors):
            y = ground + floor * storey - 0.1
            solids.append(piece(y, y + 1.0, 1.1, z, 2.6, rail))
    return solids


def far_house(dice: Dice, x: float, z: float) -> list[Solid]:
    """A block of flats across the end of the street, 18 m wide."""
    height, grey = dice.uniform(11, 19), dice.uniform(0.2, 0.6)
    panes = Texture((18 / 7, height / 5), joint=1.5, second=(grey, grey, grey), variety=0.4)
    common = {"label": LABEL["building"], "texture": panes, "seed": dice.seed()}
    return [box((x, height / 2, z + 5), (18, height, 10), PANE, **common)]
