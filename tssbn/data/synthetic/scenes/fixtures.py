"""Things on walls, built around their middle at the plane z = 0, and the walls and floor of a room.

The module ``interior`` describes how a piece is built.
"""

from __future__ import annotations

from functools import partial

from .dice import Dice
from .furniture import screen
from .interior import (
    BRIGHT,
    CEILING,
    FABRICS,
    FLOOR,
    METAL,
    PAPER,
    PICTURE,
    VOID,
    WALL,
    WINDOW,
    WOODS,
    fabric,
    scaled,
)
from .labels import PARTS
from .paint import bricks, checks, cloth, foliage, planks, stripes, tiles, wood
from .solids import Solid, Texture, box, cylinder, ellipsoid, place

PAINTS = (
    *((0.78, 0.75, 0.68), (0.8, 0.79, 0.76), (0.6, 0.62, 0.62), (0.5, 0.6, 0.68)),
    *((0.55, 0.62, 0.48), (0.75, 0.6, 0.4), (0.72, 0.55, 0.5), (0.42, 0.2, 0.14)),
    *((0.3, 0.36, 0.42), (0.68, 0.64, 0.55)),
)
LIGHT = (0.8, 0.79, 0.76)
PANE = PARTS.index("window")


def window(dice: Dice, daylight: bool) -> list[Solid]:
    wide, high = dice.uniform(0.8, 1.8), dice.uniform(1.0, 1.35)
    colour = dice.choice((LIGHT, LIGHT, WOODS[1], WOODS[3]))
    sky, land = (1.5, 1.65, 1.85), (0.4, 0.62, 0.25)
    if not daylight:
        sky, land = (0.02, 0.025, 0.06), (0.01, 0.015, 0.012)
    pane = partial(box, label=WINDOW, part=PANE, glow=1.0, casts=False, seed=dice.seed())
    low = high * dice.uniform(0.2, 0.5)
    solids = [
        pane((0, low / 2, 0), (wide, high - low, 0.03), sky, texture=cloth(0.6, 0.15)),
        pane((0, (low - high) / 2, 0), (wide, low, 0.03), land, texture=foliage()),
    ]
    bar = partial(box, label=WINDOW, casts=False)
    for x in (-wide / 2, wide / 2):
        solids.append(bar((x, 0, 0.02), (0.07, high + 0.07, 0.05), colour))
    for y in (-high / 2, high / 2):
        solids.append(bar((0, y, 0.02), (wide, 0.07, 0.05), colour))
    wings = max(round(wide / 0.6), 1)
    for k in range(1, wings):
        solids.append(bar((wide * (k / wings - 0.5), 0, 0.02), (0.04, high, 0.04), colour))
    if dice.chance(0.5):
        solids.append(bar((0, high * 0.12, 0.02), (wide, 0.035, 0.03), colour))

    kind = dice.choice(("bare", "curtains", "curtains", "blind"))
    if kind == "blind":
        drop, slats = (
            high * dice.uniform(0.25, 0.8),
            stripes(0.05, (0.5, 0.48, 0.43), upright=False),
        )
        at = (0, (high - drop) / 2, 0.05)
        solids.append(bar(at, (wide, drop, 0.02), PAPER, texture=slats, glow=0.25))
    if kind == "curtains":
        colour, long = dice.choice(FABRICS), high + dice.choice((0.2, 0.2, 1.0))
        folds = stripes(dice.uniform(0.06, 0.1), scaled(colour, 0.65))
        cloths = partial(box, label=WINDOW, instance=1)
        for x in (-wide / 2 - 0.08, wide / 2 + 0.08):
            at, extent = (x, high / 2 + 0.15 - long / 2, 0.09), (wide * 0.25 + 0.1, long, 0.06)
            solids.append(cloths(at, extent, colour, texture=folds))
        rod = (wide * 1.3 + 0.2, 0.03, 0.03)
        solids.append(cloths((0, high / 2 + 0.16, 0.09), rod, METAL))
    return solids


def door(dice: Dice) -> list[Solid]:
    """A door, which begins at the floor."""
    colour = dice.choice((LIGHT, *WOODS[:4]))
    trim = dice.choice((LIGHT, colour))
    part = partial(box, label=WALL, casts=False)
    leaf = partial(part, texture=wood(0.5), seed=dice.seed())
    solids = [leaf((0, 1, 0), (0.84, 2, 0.05), colour)]
    for x in (-0.46, 0.46):
        solids.append(part((x, 1.02, 0.01), (0.09, 2.08, 0.07), trim))
    solids.append(part((0, 2.04, 0.01), (1, 0.09, 0.07), trim))
    if dice.chance(0.7):
        for y in (0.5, 1.42):
            solids.append(leaf((0, y, 0.02), (0.55, 0.72, 0.03), scaled(colour, 0.8)))
    knob = partial(ellipsoid, label=WALL, casts=False, gloss=0.8)
    return [*solids, knob((0.35, 1, 0.07), (0.1, 0.04, 0.06), METAL)]


def picture(dice: Dice) -> list[Solid]:
    wide = dice.uniform(0.3, 0.95)
    high = wide * dice.choice((0.7, 0.75, 1.0, 1.35))
    colours, s = FABRICS + BRIGHT, dice.uniform(0.12, 0.4) * wide
    art = Texture(
        cell=(s, s * dice.uniform(0.5, 1.5)),
        shift=0.3,
        second=dice.choice(colours),
        checks=dice.chance(0.3),
        variety=dice.choice((0.0, 0.6)),
        hues=dice.choice((0.2, 0.8)),
        grain=(s * 1.2, s),
        rough=0.8,
    )
    part = partial(box, label=PICTURE, casts=False)
    solids = [part((0, 0, 0), (wide, high, 0.06), dice.choice((*WOODS, (0.5, 0.4, 0.12))))]
    if dice.chance(0.6):
        solids.append(part((0, 0, 0.01), (wide - 0.05, high - 0.05, 0.05), PAPER))
        wide, high = wide * 0.72, high * 0.72
    canvas, colour, seed = (wide - 0.06, high - 0.06, 0.05), dice.choice(colours), dice.seed()
    return [*solids, part((0, 0, 0.02), canvas, colour, texture=art, seed=seed)]


def wall_screen(dice: Dice) -> list[Solid]:
    wide = dice.uniform(0.8, 1.3)
    _, panel = screen(dice, wide, wide * 0.58)
    return place(panel, (0, -panel[0].centre[1], 0.04))


def mirror(dice: Dice) -> list[Solid]:
    """A mirror. Its class is void, because it shows other things."""
    wide, high = dice.uniform(0.4, 0.8), dice.uniform(0.7, 1.1)
    part = partial(box, label=VOID, casts=False)
    glass = partial(part, glow=0.3, gloss=0.6, texture=cloth(0.5, 0.5), seed=dice.seed())
    return [
        part((0, 0, 0), (wide, high, 0.05), dice.choice(WOODS)),
        glass((0, 0, 0.01), (wide - 0.07, high - 0.07, 0.05), (0.6, 0.64, 0.66)),
    ]


def radiator(dice: Dice) -> list[Solid]:
    """A radiator on the floor. It is void, because none of the 13 classes fits."""
    ribs, extent = stripes(0.05, (0.5, 0.5, 0.49)), (dice.uniform(0.7, 1.3), 0.55, 0.09)
    return [box((0, 0.42, 0.08), extent, (0.76, 0.75, 0.73), label=VOID, texture=ribs)]


def carpet(dice: Dice) -> list[Solid]:
    """A carpet on the floor, around the origin."""
    wide, deep = dice.uniform(1.4, 2.4), dice.uniform(1.2, 2.2)
    (colour, pattern), (edge, _) = fabric(dice), fabric(dice)
    look = {"label": FLOOR, "casts": False, "seed": dice.seed()}
    if dice.chance(0.25):
        return [cylinder((0, 0.005, 0), (wide, 0.02, wide), colour, texture=pattern, **look)]
    inner = (wide - 0.24, 0.018, deep - 0.24)
    return [
        box((0, 0.004, 0), (wide, 0.016, deep), edge, texture=cloth(0.05), **look),
        box((0, 0.006, 0), inner, colour, texture=pattern, **look),
    ]


def ground(dice: Dice, wide: float, deep: float, high: float) -> list[Solid]:
    """The floor and the ceiling of a room, x from -wide/2 to wide/2, z from 0 to deep."""
    kinds = (
        *[(planks(dice.uniform(0.09, 0.18)), dice.choice(WOODS[:6]))] * 3,
        *[(cloth(0.07, 0.3), dice.choice(FABRICS))] * 2,
        (tiles(dice.uniform(0.3, 0.6), (0.3, 0.29, 0.27)), dice.choice(PAINTS)),
        (checks(0.4, (0.12, 0.12, 0.12)), (0.7, 0.68, 0.63)),
    )
    texture, colour = dice.choice(kinds)
    over = dice.choice((cloth(0.5, 0.05), cloth(0.8, 0.05), tiles(0.6, (0.6, 0.6, 0.6))))
    part = partial(box, casts=False, seed=dice.seed())
    shine, extent, z = dice.choice((0.0, 0.12, 0.25)), (wide + 0.4, 0.2, deep + 0.4), deep / 2
    return [
        part((0, -0.1, z), extent, colour, label=FLOOR, texture=texture, gloss=shine),
        part((0, high + 0.1, z), extent, LIGHT, label=CEILING, texture=over),
    ]


def walls(dice: Dice, lengths: tuple[float, ...], high: float) -> list[list[Solid]]:
    """A wall with a skirting board for each length; one of them may look different."""
    paint = dice.choice(PAINTS)
    papers = (
        *(cloth(0.5, 0.06), cloth(0.9, 0.1), cloth(0.03, 0.12), tiles(0.2, LIGHT)),
        stripes(0.12, scaled(paint, dice.uniform(0.7, 0.95))),
    )
    looks = [(paint, dice.choice((papers[0], *papers)))] * len(lengths)
    other = ((dice.choice(PAINTS), papers[0]), ((0.4, 0.17, 0.1), bricks()), looks[0], looks[0])
    looks[dice.integer(0, len(lengths) - 1)] = dice.choice(other)
    trim = dice.choice((LIGHT, WOODS[1], WOODS[3]))
    part = partial(box, label=WALL, casts=False)
    return [
        [
            part(
                (0, high / 2, -0.1),
                (long + 0.4, high, 0.2),
                colour,
                texture=texture,
                seed=dice.seed(),
            ),
            part((0, 0.05, 0.01), (long, 0.1, 0.02), trim),
        ]
        for long, (colour, texture) in zip(lengths, looks, strict=True)
    ]
