"""The classes and materials of all furniture, and functions that put pieces together.

A piece is a list of solids around the origin. It stands on the floor, its back is at the plane
z = 0, its front faces +z, and its width is along x. The instances of a piece are numbered from 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from .dice import Dice
from .paint import checks, cloth, stripes
from .solids import Solid, Texture, Vector

CLASSES = (
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects"),
    *("picture", "sofa", "table", "tv", "wall", "window"),
)
BED, BOOKS, CEILING, CHAIR, FLOOR, FURNITURE, OBJECTS, PICTURE, SOFA, TABLE, TV, WALL, WINDOW = (
    range(13)
)
VOID = -1

# Colours are linear light. All classes draw from the same ones: colour alone tells little.
WOODS = (
    *((0.72, 0.7, 0.66), (0.45, 0.28, 0.14), (0.58, 0.4, 0.21), (0.24, 0.12, 0.06)),
    *((0.1, 0.055, 0.035), (0.32, 0.1, 0.05), (0.06, 0.06, 0.065), (0.36, 0.34, 0.32)),
)
FABRICS = (
    *((0.62, 0.58, 0.5), (0.4, 0.3, 0.2), (0.3, 0.05, 0.05), (0.08, 0.13, 0.3)),
    *((0.14, 0.25, 0.13), (0.32, 0.33, 0.35), (0.06, 0.06, 0.07), (0.5, 0.36, 0.12)),
    *((0.32, 0.16, 0.25), (0.2, 0.36, 0.42), (0.72, 0.7, 0.68), (0.45, 0.2, 0.12)),
)
BRIGHT = (
    *((0.7, 0.12, 0.08), (0.75, 0.5, 0.08), (0.1, 0.3, 0.6), (0.15, 0.45, 0.2)),
    *((0.8, 0.8, 0.78), (0.5, 0.2, 0.45), (0.05, 0.05, 0.06), (0.8, 0.35, 0.1)),
    (0.35, 0.6, 0.65),
)
PAPER = (0.75, 0.74, 0.7)
METAL = (0.35, 0.36, 0.38)
DARK = (0.03, 0.03, 0.035)
LAMPLIGHT = (1.6, 1.35, 0.95)


def fabric(dice: Dice) -> tuple[Vector, Texture]:
    """Choose the colour and the pattern of a fabric."""
    second = dice.choice(FABRICS)
    patterns = (
        *(cloth(0.12), cloth(0.04), cloth(0.2), cloth(0.3, 0.35)),
        checks(dice.uniform(0.05, 0.12), second),
        stripes(dice.uniform(0.04, 0.1), second, upright=dice.chance(0.5)),
    )
    return dice.choice(FABRICS), dice.choice(patterns)


def scaled(colour: Vector, factor: float) -> Vector:
    """Multiply a colour by a factor, which makes it brighter or darker."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def group(*parts: Sequence[Solid]) -> list[Solid]:
    """Join parts to one piece; the instances are numbered on from part to part."""
    joined: list[Solid] = []
    base = 0
    for part in parts:
        joined += [solid._replace(instance=solid.instance + base) for solid in part]
        base = max((solid.instance for solid in joined), default=-1) + 1
    return joined


def size(piece: Sequence[Solid]) -> Vector:
    """Return width, height and depth of a piece in metres.

    The width is twice the largest distance from x = 0; the height and the depth are the largest y
    and z.
    """
    wide = high = deep = 0.0
    for solid in piece:
        (u, v, w), (a, b, c) = solid.axes, solid.half
        # Not `sum`, which rounds in another way from Python 3.12 on.
        x, y, z = (abs(u[k]) * a + abs(v[k]) * b + abs(w[k]) * c for k in range(3))
        wide = max(wide, abs(solid.centre[0]) + x)
        high = max(high, solid.centre[1] + y)
        deep = max(deep, solid.centre[2] + z)
    return 2 * wide, high, deep
