"""Sofas, armchairs and chairs; the module ``interior`` describes how a piece is built."""

from __future__ import annotations

from functools import partial

from .dice import Dice
from .interior import CHAIR, DARK, FABRICS, OBJECTS, SOFA, WOODS, fabric
from .paint import cloth, wood
from .solids import Solid, box, cylinder, ellipsoid, place, rotation


def sofa(dice: Dice) -> list[Solid]:
    return _upholstered(dice, dice.uniform(1.5, 2.3), SOFA)


def armchair(dice: Dice) -> list[Solid]:
    return _upholstered(dice, dice.uniform(0.72, 0.9), CHAIR)


def _upholstered(dice: Dice, wide: float, label: int) -> list[Solid]:
    deep, seat, back = dice.uniform(0.8, 0.95), dice.uniform(0.4, 0.46), dice.uniform(0.72, 0.95)
    arm, arms = dice.uniform(0.12, 0.22), dice.uniform(0.52, 0.64)
    colour, pattern = fabric(dice)
    look = {"label": label, "texture": pattern, "seed": dice.seed()}
    part, roll, soft = (partial(shape, **look) for shape in (box, cylinder, ellipsoid))
    solids = [
        part((0, seat / 2 - 0.01, deep / 2), (wide, seat - 0.14, deep), colour),
        part((0, back / 2 + 0.04, 0.12), (wide, back - 0.08, 0.2), colour),
    ]
    lying = rotation(pitch=90)
    for x in (-(wide - arm) / 2, (wide - arm) / 2):
        solids.append(part((x, arms / 2, deep / 2), (arm, arms - 0.06, deep), colour))
        solids.append(roll((x, arms - 0.03, deep / 2), (arm, deep, arm), colour, axes=lying))
    seats = max(round((wide - 2 * arm) / 0.65), 1)
    each = (wide - 2 * arm) / seats
    for k in range(seats):
        x, leaning = (k - (seats - 1) / 2) * each, rotation(pitch=12)
        cushion = (each - 0.015, 0.15, deep - 0.2)
        solids.append(part((x, seat - 0.07, deep / 2 + 0.1), cushion, colour))
        solids.append(soft((x, seat + 0.24, 0.26), (each * 1.05, 0.55, 0.26), colour, axes=leaning))
    for k in range(dice.integer(0, seats)):
        at = (dice.uniform(-1, 1) * (wide / 2 - arm - 0.2), seat + 0.2, 0.42)
        axes = rotation(dice.uniform(-20, 20), 25, dice.uniform(-20, 60))
        colour, pattern = fabric(dice)
        loose = partial(ellipsoid, label=OBJECTS, texture=pattern, instance=k + 1)
        solids.append(loose(at, (0.44, 0.42, 0.17), colour, axes=axes))
    return solids


def chair(dice: Dice) -> list[Solid]:
    return _office_chair(dice) if dice.chance(0.25) else _wooden_chair(dice)


def _wooden_chair(dice: Dice) -> list[Solid]:
    wide, seat, back = dice.uniform(0.4, 0.48), dice.uniform(0.44, 0.48), dice.uniform(0.82, 1.02)
    timber = dice.choice(WOODS)
    colour, pattern = fabric(dice) if dice.chance(0.5) else (timber, wood())
    part = partial(box, label=CHAIR, seed=dice.seed())
    solids = [part((0, seat - 0.02, wide / 2 + 0.02), (wide, 0.05, wide), colour, texture=pattern)]
    for x in (0.02 - wide / 2, wide / 2 - 0.02):
        solids.append(part((x, seat / 2, wide), (0.04, seat - 0.03, 0.04), timber))
        solids.append(part((x, back / 2, 0.02), (0.04, back, 0.04), timber))
    solids.append(part((0, back - 0.04, 0.02), (wide, 0.08, 0.035), timber, texture=wood()))
    if dice.chance(0.35):
        for x in (-wide / 4, 0, wide / 4):
            solids.append(part((x, (seat + back) / 2, 0.02), (0.05, back - seat, 0.02), timber))
    else:
        panel = (wide - 0.06, 0.26, 0.03)
        solids.append(part((0, back - 0.16, 0.03), panel, colour, texture=pattern))
    return solids


def _office_chair(dice: Dice) -> list[Solid]:
    seat, back, colour = dice.uniform(0.44, 0.5), dice.uniform(0.9, 1.1), dice.choice(FABRICS)
    part = partial(box, label=CHAIR)
    soft = {"label": CHAIR, "texture": cloth(), "seed": dice.seed()}
    solids = [
        box((0, seat, 0.29), (0.48, 0.08, 0.46), colour, **soft),
        ellipsoid((0, back - 0.16, 0.08), (0.46, 0.6, 0.12), colour, **soft),
        cylinder((0, seat / 2, 0.29), (0.06, seat, 0.06), DARK, label=CHAIR),
    ]
    foot = part((0, 0.05, 0.15), (0.05, 0.05, 0.3), DARK)
    for k in range(5):
        solids += place([foot], (0, 0, 0.29), 72 * k + 20)
    for x in (-0.25, 0.25):
        solids.append(part((x, seat + 0.2, 0.28), (0.05, 0.04, 0.26), DARK))
        solids.append(part((x, seat + 0.1, 0.28), (0.04, 0.2, 0.05), DARK))
    return solids
