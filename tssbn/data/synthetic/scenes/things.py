"""Small things that stand on furniture or lie on the floor."""

from __future__ import annotations

from functools import partial

from .dice import Dice
from .interior import BOOKS, BRIGHT, FABRICS, LAMPLIGHT, METAL, OBJECTS, PAPER
from .paint import checks, cloth, foliage, stripes
from .solids import Solid, Texture, box, cylinder, ellipsoid, place, rotation

block = partial(box, label=OBJECTS)
ball = partial(ellipsoid, label=OBJECTS)
tube = partial(cylinder, label=OBJECTS)


def small_thing(dice: Dice) -> list[Solid]:
    """One small thing around the origin that stands on furniture."""
    return dice.choice((vase, bowl, cup, bottle, carton, pile, potted, lamp, toy, paper))(dice)


def vase(dice: Dice) -> list[Solid]:
    high, colour = dice.uniform(0.18, 0.34), dice.choice(BRIGHT + FABRICS)
    belly, neck = high * 0.6, high * 0.25
    return [
        ball((0, high * 0.4, 0), (belly, high * 0.8, belly), colour, gloss=0.6),
        tube((0, high * 0.85, 0), (neck, high * 0.3, neck), colour, gloss=0.6),
    ]


def bowl(dice: Dice) -> list[Solid]:
    wide = dice.uniform(0.2, 0.3)
    solids = [ball((0, 0.05, 0), (wide, 0.1, wide), dice.choice(FABRICS), gloss=0.5)]
    for x, z in ((-0.05, 0.0), (0.05, 0.02), (0.0, -0.05)):
        solids.append(ball((x, 0.1, z), (0.09, 0.09, 0.09), dice.choice(BRIGHT), gloss=0.3))
    return solids


def cup(dice: Dice) -> list[Solid]:
    colour = dice.choice(BRIGHT)
    return [
        tube((0, 0.05, 0), (0.09, 0.1, 0.09), colour, gloss=0.5),
        block((0.055, 0.055, 0), (0.03, 0.05, 0.015), colour),
    ]


def bottle(dice: Dice) -> list[Solid]:
    colour = dice.choice(BRIGHT)
    return [
        tube((0, 0.1, 0), (0.08, 0.2, 0.08), colour, gloss=0.8),
        tube((0, 0.24, 0), (0.03, 0.1, 0.03), colour, gloss=0.8),
    ]


def carton(dice: Dice) -> list[Solid]:
    s, colour = dice.uniform(0.12, 0.28), dice.choice(BRIGHT + FABRICS)
    return [block((0, s * 0.35, 0), (s * 1.3, s * 0.7, s), colour, texture=cloth(0.1))]


def pile(dice: Dice) -> list[Solid]:
    """A pile of a few books."""
    solids, y = [], 0.0
    for _ in range(dice.integer(2, 4)):
        wide, thick, deep = (
            dice.uniform(0.2, 0.28),
            dice.uniform(0.02, 0.05),
            dice.uniform(0.15, 0.2),
        )
        colour, axes = dice.choice(BRIGHT + FABRICS), rotation(dice.uniform(-15, 15))
        solids.append(
            box((0, y + thick / 2, 0), (wide, thick, deep), colour, label=BOOKS, axes=axes)
        )
        y += thick
    return solids


def potted(dice: Dice, low: float = 0.25, high: float = 0.4) -> list[Solid]:
    """A plant in its pot."""
    tall = dice.uniform(low, high)
    pot = dice.choice(((0.4, 0.16, 0.08), (0.6, 0.58, 0.55), (0.12, 0.12, 0.13)))
    green = (dice.uniform(0.06, 0.16), dice.uniform(0.2, 0.34), dice.uniform(0.04, 0.1))
    leaf = partial(ball, texture=foliage(), seed=dice.seed())
    s = tall * 0.34
    solids = [tube((0, s * 0.4, 0), (s * 0.9, s * 0.8, s * 0.9), pot)]
    for k in range(5):
        axes = rotation(72 * k + dice.uniform(0, 50), dice.uniform(25, 75))
        long = tall * dice.uniform(0.5, 0.72)
        x, y, z = (along * long / 2 for along in axes[2])
        solids.append(leaf((x, s * 0.8 + y, z), (tall * 0.26, tall * 0.1, long), green, axes=axes))
    return solids


def lamp(dice: Dice) -> list[Solid]:
    high = dice.uniform(0.35, 0.5)
    return [
        tube((0, high * 0.4, 0), (0.05, high * 0.8, 0.05), METAL),
        tube((0, 0.01, 0), (0.15, 0.03, 0.15), METAL),
        tube((0, high, 0), (0.26, 0.2, 0.26), LAMPLIGHT, glow=0.7),
    ]


def toy(dice: Dice) -> list[Solid]:
    s, pattern = dice.uniform(0.1, 0.2), checks(0.06, (0.7, 0.7, 0.7))
    return [ball((0, s / 2, 0), (s, s, s), dice.choice(BRIGHT), gloss=0.4, texture=pattern)]


def paper(dice: Dice) -> list[Solid]:
    lines = stripes(0.03, (0.4, 0.4, 0.4), upright=False)
    return [block((0, 0.01, 0), (0.21, 0.015, 0.3), PAPER, texture=lines)]


def row_of_books(dice: Dice, long: float, high: float) -> list[Solid]:
    """Books that stand upright on a shelf, around x = z = 0."""
    spines = Texture(
        cell=(dice.uniform(0.03, 0.05), 0.0),
        joint=0.006,
        second=(0.02, 0.02, 0.02),
        variety=0.6,
        hues=0.85,
        grain=(0.03, 0.02),
        rough=0.3,
    )
    tone = dice.choice(((0.3, 0.25, 0.2), (0.25, 0.12, 0.1), (0.15, 0.2, 0.3), (0.4, 0.38, 0.34)))
    block_of = partial(box, label=BOOKS, texture=spines, seed=dice.seed())
    return [block_of((0, high / 2, 0), (long, high, 0.19), tone)]


def floor_plant(dice: Dice) -> list[Solid]:
    return place(potted(dice, 0.8, 1.5), (0, 0, 0.35))


def floor_lamp(dice: Dice) -> list[Solid]:
    high = dice.uniform(1.35, 1.7)
    return [
        tube((0, high / 2, 0.25), (0.035, high, 0.035), METAL),
        tube((0, 0.015, 0.25), (0.28, 0.03, 0.28), METAL),
        tube((0, high, 0.25), (0.4, 0.28, 0.4), LAMPLIGHT, glow=0.75, casts=False),
    ]


def parcel(dice: Dice) -> list[Solid]:
    """Cartons, a bag, a ball or a basket on the floor."""
    s, kind, seed = dice.uniform(0.25, 0.5), dice.integer(0, 3), dice.seed()
    colour, z = dice.choice(FABRICS), s / 2
    if kind == 0:
        brown = partial(block, texture=cloth(0.2), seed=seed)
        lower = brown((0, s * 0.35, z), (s * 1.3, s * 0.7, s), (0.42, 0.29, 0.17))
        upper = brown((0.03, s * 0.9, z), (s, s * 0.4, s * 0.8), (0.38, 0.26, 0.15))
        return [lower, upper] if dice.chance(0.5) else [lower]
    if kind == 1:
        return [ball((0, s * 0.45, z), (s * 0.9, s * 0.95, s * 0.55), colour, texture=cloth(0.1))]
    if kind == 2:
        return [ball((0, s * 0.4, z), (s * 0.8, s * 0.8, s * 0.8), dice.choice(BRIGHT), gloss=0.4)]
    weave = checks(0.05, (0.2, 0.13, 0.07))
    return [tube((0, s * 0.4, z), (s, s * 0.8, s), (0.42, 0.28, 0.15), texture=weave)]
