"""Furniture, piece by piece; the module ``interior`` describes how a piece is built."""

from __future__ import annotations

from functools import partial

from .dice import Dice
from .interior import (
    BED,
    DARK,
    FABRICS,
    FURNITURE,
    METAL,
    OBJECTS,
    TABLE,
    TV,
    WOODS,
    fabric,
    group,
    size,
)
from .paint import cloth, wood
from .seats import chair
from .solids import PLAIN, Solid, Texture, Vector, box, cylinder, ellipsoid, place, rotation
from .things import row_of_books, small_thing


def bed(dice: Dice) -> list[Solid]:
    wide, long, high = dice.choice((0.95, 1.4, 1.7)), 2.05, dice.uniform(0.42, 0.58)
    timber, sheet, (cover, pattern) = dice.choice(WOODS), dice.choice(FABRICS[::5]), fabric(dice)
    part = partial(box, label=BED, seed=dice.seed())
    board, linen = partial(part, texture=wood()), partial(part, texture=cloth(0.2))
    head = dice.uniform(0.75, 1.2)
    mattress = high - 0.2
    solids = [
        board((0, head / 2, 0.04), (wide + 0.06, head, 0.06), timber),
        board((0, 0.17, long / 2), (wide, 0.2, long), timber),
        linen(
            (0, 0.2 + mattress / 2, long / 2 + 0.03), (wide - 0.04, mattress, long - 0.06), sheet
        ),
    ]
    if dice.chance(0.5):
        solids.append(board((0, high / 2, long + 0.03), (wide + 0.06, high + 0.12, 0.05), timber))
    drop, cover_long = dice.uniform(0.12, high - 0.05), long * dice.uniform(0.55, 0.8)
    blanket = (0, high + 0.03 - drop / 2, long - cover_long / 2)
    solids.append(part(blanket, (wide + 0.06, drop, cover_long), cover, texture=pattern))
    solids.append(
        linen((0, high + 0.05, long - cover_long + 0.16), (wide + 0.07, 0.05, 0.3), sheet)
    )

    pillows = 1 if wide < 1.2 else 2
    each = wide / pillows
    colour, pattern = fabric(dice) if dice.chance(0.6) else (sheet, cloth(0.1))
    soft = partial(ellipsoid, label=OBJECTS, texture=pattern)
    for k in range(pillows):
        at = ((k - (pillows - 1) / 2) * each, high + 0.1, 0.28)
        axes = rotation(dice.uniform(-8, 8), dice.uniform(-30, -10))
        solids.append(soft(at, (each * 0.85, 0.2, 0.46), colour, axes=axes, instance=k + 1))
    return solids


def table(dice: Dice, wide: float, deep: float, high: float, things: int = 0) -> list[Solid]:
    """A table with ``things`` small things on it."""
    timber, thick = dice.choice(WOODS), dice.uniform(0.03, 0.06)
    kind = dice.choice(("legs", "legs", "round", "sides"))
    look = {"label": TABLE, "seed": dice.seed(), "texture": wood(0.5)}
    part, disc = partial(box, **look), partial(cylinder, **look)
    y, z = high - thick / 2, deep / 2
    if kind == "round":
        across = min(wide, deep * 1.2)
        foot = across / 2
        solids = [
            disc((0, y, z), (across, thick, across), timber, gloss=0.25),
            disc((0, high / 2, z), (0.1, high - thick, 0.1), timber),
            disc((0, 0.02, z), (foot, 0.04, foot), timber),
        ]
        return _laden(dice, solids, across * 0.75, across * 0.75, high, z, things)
    solids = [part((0, y, z), (wide, thick, deep), timber, gloss=0.25)]
    for side in (-1, 1):
        x = side * (wide / 2 - 0.06)
        if kind == "sides":
            solids.append(part((x, y / 2, z), (0.04, y, deep - 0.08), timber))
            continue
        for leg in (0.06, deep - 0.06):
            solids.append(part((x, y / 2, leg), (0.06, y, 0.06), timber))
    return _laden(dice, solids, wide, deep, high, z, things)


def _laden(
    dice: Dice, piece: list[Solid], wide: float, deep: float, y: float, z: float, things: int
) -> list[Solid]:
    """The piece with things on its top, a rectangle around x = 0 and z."""
    loose = []
    for _ in range(things):
        x, z_there = dice.uniform(-0.4, 0.4) * wide, z + dice.uniform(-0.35, 0.35) * deep
        loose.append(place(small_thing(dice), (x, y, z_there), dice.uniform(0, 360)))
    return group(piece, *loose)


def cupboard(dice: Dice) -> list[Solid]:
    return dice.choice((wardrobe, chest, chest, sideboard))(dice)


def wardrobe(dice: Dice) -> list[Solid]:
    wide, high = dice.uniform(0.9, 1.8), dice.uniform(1.8, 2.15)
    return _cabinet(dice, wide, high, dice.uniform(0.5, 0.6), round(wide / 0.5), 1, 0)


def chest(dice: Dice) -> list[Solid]:
    wide, high = dice.uniform(0.6, 1.1), dice.uniform(0.75, 1.15)
    columns, rows = 1 if wide < 0.85 else 2, round(high / 0.24)
    return _cabinet(dice, wide, high, dice.uniform(0.4, 0.5), columns, rows, dice.integer(1, 4))


def sideboard(dice: Dice) -> list[Solid]:
    wide = dice.uniform(1.2, 1.8)
    return _cabinet(dice, wide, 0.75, 0.45, round(wide / 0.45), 1, dice.integer(1, 4))


def nightstand(dice: Dice) -> list[Solid]:
    wide, high = dice.uniform(0.4, 0.5), dice.uniform(0.45, 0.6)
    return _cabinet(dice, wide, high, 0.4, 1, 2, dice.integer(1, 2))


def _cabinet(
    dice: Dice, wide: float, high: float, deep: float, columns: int, rows: int, things: int
) -> list[Solid]:
    """A box with doors (one row) or drawers before it and things on it."""
    timber = dice.choice(WOODS)
    front = timber if dice.chance(0.7) else dice.choice(WOODS)
    part = partial(box, label=FURNITURE, seed=dice.seed(), texture=wood(0.4))
    grip = partial(box, label=FURNITURE, casts=False)
    solids = [part((0, high / 2, deep / 2 - 0.01), (wide, high, deep - 0.02), timber)]
    w, h = (wide - 0.02) / columns, (high - 0.08) / rows
    for i in range(columns):
        x = (i - (columns - 1) / 2) * w
        for j in range(rows):
            y = 0.06 + (j + 0.5) * h
            solids.append(part((x, y, deep), (w - 0.02, h - 0.02, 0.03), front))
            if rows > 1:
                solids.append(grip((x, y, deep + 0.025), (min(0.14, w / 2), 0.02, 0.02), METAL))
            else:
                edge = x + w * (0.36 if i % 2 == 0 else -0.36)
                solids.append(grip((edge, y, deep + 0.025), (0.02, min(0.16, h / 2), 0.02), METAL))
    return _laden(dice, solids, wide, deep * 0.8, high, deep / 2, things)


def bookcase(dice: Dice) -> list[Solid]:
    wide, high, deep = dice.uniform(0.7, 1.5), dice.uniform(1.1, 2.1), 0.3
    timber = dice.choice(WOODS)
    part = partial(box, label=FURNITURE, seed=dice.seed(), texture=wood(0.4))
    solids = [part((0, high / 2, 0.01), (wide, high, 0.02), timber)]
    for x in (-wide / 2, wide / 2):
        solids.append(part((x, high / 2, deep / 2), (0.03, high, deep), timber))
    rows = round(high / 0.36)
    step = (high - 0.05) / rows
    loose = []
    for j in range(rows + 1):
        y = 0.03 + j * step
        solids.append(part((0, y, deep / 2), (wide, 0.03, deep), timber))
        used, room = 0.0, wide - 0.05 if j < rows else 0.0
        while used < room - 0.2:
            long = min(dice.uniform(0.25, 0.8), room - used)
            at = (used + long / 2 - room / 2, y + 0.015, deep * 0.55)
            used += long + 0.01
            if dice.chance(0.75):
                books = row_of_books(dice, long, step * dice.uniform(0.6, 0.85))
                loose.append(place(books, at))
            elif dice.chance(0.6):
                colour, bag = dice.choice(FABRICS), partial(box, label=OBJECTS, texture=cloth(0.1))
                loose.append(place([bag((0, 0.1, 0), (min(long, 0.3), 0.2, 0.2), colour)], at))
    return group(solids, *loose)


def television(dice: Dice) -> list[Solid]:
    """A television on a low board."""
    wide = dice.uniform(0.9, 1.4)
    board = _cabinet(dice, wide + dice.uniform(0.1, 0.5), dice.uniform(0.4, 0.6), 0.45, 3, 1, 0)
    foot, panel = screen(dice, wide, wide * 0.58)
    return group(board, place(foot + panel, (0, size(board)[1], 0.22)))


def screen(dice: Dice, wide: float, high: float) -> tuple[list[Solid], list[Solid]]:
    """The foot and the panel of a screen at the origin, switched on or off."""
    part, y = partial(box, label=TV), 0.06 + high / 2
    shown: Vector = (0.015, 0.015, 0.02)
    pattern, glow = PLAIN, 0.0
    if dice.chance(0.5):
        shown = (dice.uniform(0.1, 0.6), dice.uniform(0.1, 0.6), dice.uniform(0.2, 0.8))
        pattern, glow = Texture(grain=(wide * 0.3, high * 0.3), rough=0.9, hues=0.5), 0.9
    glass = partial(part, texture=pattern, glow=glow, gloss=0.5, casts=False, seed=dice.seed())
    foot = [
        part((0, 0.01, 0), (wide * 0.4, 0.02, 0.18), DARK),
        part((0, 0.05, 0), (0.08, 0.08, 0.05), DARK),
    ]
    panel = [
        part((0, y, 0), (wide, high, 0.05), DARK, gloss=0.5),
        glass((0, y, 0.025), (wide - 0.05, high - 0.05, 0.012), shown),
    ]
    return foot, panel


def desk(dice: Dice) -> list[Solid]:
    """A desk with a monitor and small things on it, and a chair in front."""
    wide, deep, high = dice.uniform(1.1, 1.6), dice.uniform(0.6, 0.75), dice.uniform(0.72, 0.76)
    top = table(dice, wide, deep, high, dice.integer(1, 4))
    foot, panel = screen(dice, dice.uniform(0.45, 0.65), dice.uniform(0.28, 0.38))
    monitor = place(foot + panel, (dice.uniform(-0.2, 0.2), high, 0.2))
    at = (dice.uniform(-0.2, 0.2), 0.0, deep + dice.uniform(0.45, 0.7))
    return group(top, monitor, place(chair(dice), at, 180 + dice.uniform(-35, 35)))


def kitchen(dice: Dice) -> list[Solid]:
    """A counter with things on it, wall cabinets above and perhaps a fridge beside it."""
    wide, units = dice.uniform(1.6, 2.6), dice.integer(3, 5)
    front = dice.choice(WOODS)
    top = dice.choice(((0.5, 0.48, 0.45), (0.08, 0.08, 0.09), (0.45, 0.3, 0.18)))
    part = partial(box, label=FURNITURE)
    unit = partial(part, seed=dice.seed(), texture=wood(0.4))
    solids = [
        unit((0, 0.44, 0.29), (wide, 0.88, 0.58), front),
        part((0, 0.9, 0.31), (wide + 0.02, 0.04, 0.64), top, gloss=0.5, texture=cloth(0.03)),
        unit((0, 1.85, 0.17), (wide, 0.7, 0.34), front),
    ]
    each = wide / units
    for k in range(units):
        x = (k - (units - 1) / 2) * each
        solids.append(unit((x, 0.47, 0.59), (each - 0.02, 0.74, 0.02), front))
        solids.append(unit((x, 1.85, 0.345), (each - 0.02, 0.66, 0.02), front))
        solids.append(part((x, 0.8, 0.61), (0.14, 0.02, 0.02), METAL, casts=False))
        solids.append(part((x, 1.56, 0.36), (0.14, 0.02, 0.02), METAL, casts=False))
    piece = _laden(dice, solids, wide, 0.4, 0.92, 0.3, dice.integer(2, 4))
    if dice.chance(0.7):
        colour = dice.choice(((0.7, 0.7, 0.7), (0.4, 0.41, 0.43), (0.15, 0.15, 0.16)))
        x, shiny = wide / 2 + 0.34, partial(part, gloss=0.4)
        fridge = [
            shiny((x, 0.9, 0.31), (0.62, 1.8, 0.6), colour),
            shiny((x, 1.5, 0.62), (0.6, 0.56, 0.02), colour),
            shiny((x, 0.62, 0.62), (0.6, 1.14, 0.02), colour),
            part((x - 0.25, 1.1, 0.65), (0.025, 0.6, 0.03), METAL, casts=False),
        ]
        piece = group(piece, fridge)
    return piece
