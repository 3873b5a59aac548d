"""Cars, lorries, buses, trams, motorcycles and bicycles, built of solids with the part of each.

Each vehicle stands on the ground at the origin and heads along +z. If it is ``away``, it drives
away from the camera, which sees its rear; otherwise the camera sees its front.
"""

from __future__ import annotations

import math

from .classes import LABEL
from .dice import Dice
from .labels import PARTS
from .people import SEAT, person
from .solids import Axes, Solid, Texture, Vector, box, cylinder, ellipsoid, rotation

__all__ = ["bicycle", "bus", "car", "motorcycle", "train", "truck"]

WINDOW, WHEEL, LIGHT, PLATE, CHASSIS = (
    PARTS.index(name) for name in ("window", "wheel", "light", "plate", "chassis")
)
ACROSS = rotation(roll=90)  # a cylinder's axis along x: an axle

PAINTS = (
    *((0.70, 0.70, 0.68), (0.40, 0.41, 0.42), (0.18, 0.19, 0.20), (0.03, 0.03, 0.035)),
    *((0.03, 0.07, 0.25), (0.10, 0.22, 0.42), (0.45, 0.03, 0.03), (0.22, 0.02, 0.03)),
    *((0.03, 0.14, 0.07), (0.45, 0.38, 0.25), (0.60, 0.33, 0.03), (0.25, 0.45, 0.50)),
)
LIVERIES = (
    *((0.70, 0.55, 0.02), (0.55, 0.04, 0.04), (0.05, 0.20, 0.50), (0.60, 0.60, 0.58)),
    *((0.05, 0.35, 0.20), (0.65, 0.30, 0.03), (0.10, 0.35, 0.45)),
)
GLASS = (0.045, 0.06, 0.075)
RUBBER = (0.015, 0.015, 0.016)
METAL = (0.30, 0.31, 0.32)
DARK = (0.02, 0.02, 0.022)
SHADE = (0.02, 0.02, 0.02)


def car(dice: Dice, instance: int = 0, away: bool = True, near: bool = True) -> list[Solid]:
    """A saloon, estate, hatchback, off-roader or van, of 15 solids, or 10 if it is not ``near``."""
    length, width, belt, top, bonnet, slope, boot = dice.choice(
        [
            (4.5, 1.78, 0.86, 1.44, 1.15, 0.75, 0.55),
            (4.6, 1.80, 0.88, 1.47, 1.15, 0.70, 0.06),
            (3.9, 1.72, 0.88, 1.48, 0.85, 0.65, 0.04),
            (4.4, 1.86, 1.02, 1.68, 1.05, 0.55, 0.04),
            (4.9, 1.92, 1.10, 1.95, 0.70, 0.55, 0.02),
        ]
    )
    scale = dice.uniform(0.96, 1.04)
    length, width, belt, top = length * scale, width * scale, belt * scale, top * scale
    paint = dice.choice(PAINTS)
    front, rear = length / 2, -length / 2
    common = {"label": LABEL["car"], "instance": instance}
    body = {**common, "part": CHASSIS, "gloss": 0.25}
    glass = {**common, "part": WINDOW, "gloss": 0.2}
    inner = width * 0.86
    roof_front, roof_rear = front - bonnet - slope, rear + boot + 0.35
    middle, cabin = (roof_front + roof_rear) / 2, roof_front - roof_rear
    solids = [
        box((0, (0.3 + belt) / 2, 0), (width, belt - 0.3, length), paint, **body),
        box((0, (belt + top) / 2, middle), (inner, top - belt, cabin), GLASS, **glass),
        _slope((belt, front - bonnet), (top, roof_front), inner, 0.5, GLASS, **glass),
        _slope((belt, rear + boot), (top, roof_rear), inner, 0.3, GLASS, **glass),
        box((0, top, middle), (inner * 0.99, 0.07, cabin + 0.12), paint, **body),
        *_lights(width, 0.66 * belt / 0.86, length, away, 0.36, **common),
        _plate(0.42, length, **common),
    ]
    axles = (front - 0.82, rear + 0.82)
    for z in axles:
        solids.append(_wheel((0, 0.32, z), 0.64, width + 0.03, RUBBER, part=WHEEL, **common))
    if near:
        dark = {**common, "part": CHASSIS, "casts": False}
        solids.append(box((0, 0.33, 0), (width - 0.04, 0.2, length + 0.06), DARK, **dark))
        pillar = (inner + 0.02, top - belt, 0.09)
        solids.append(box((0, (belt + top) / 2, middle), pillar, paint, **body))
        solids.append(
            box((0, belt + 0.08, front - bonnet - 0.3), (width + 0.32, 0.13, 0.12), paint, **body)
        )
        for z in axles:
            solids.append(_wheel((0, 0.32, z), 0.4, width + 0.05, METAL, part=WHEEL, **common))
    return [*solids, _contact(width, length)]


def truck(dice: Dice, instance: int = 0, away: bool = True) -> list[Solid]:
    """A lorry: a cab, and a load behind it that is a box or a tarpaulin."""
    length, width, top = dice.uniform(6.5, 9.0), 2.45, dice.uniform(3.1, 3.6)
    paint, load = dice.choice(LIVERIES), dice.choice((*LIVERIES, *PAINTS[:2]))
    front, rear = length / 2, -length / 2
    common = {"label": LABEL["truck"], "instance": instance}
    body = {**common, "part": CHASSIS}
    glass = {**common, "part": WINDOW, "gloss": 0.2}
    back = front - 2.3  # where the load ends
    planks = Texture(cell=(dice.uniform(0.6, 1.2), 0), joint=0.04, second=_darker(load))
    stripe = dice.choice(LIVERIES)
    return [
        box((0, 1.65, front - 1.0), (width - 0.1, 2.2, 2.0), paint, gloss=0.4, **body),
        box((0, 2.05, front - 0.6), (width - 0.07, 0.8, 0.85), GLASS, **glass),
        box((0, 2.05, front - 0.5), (width - 0.4, 0.85, 1.06), GLASS, **glass),
        box(
            (0, (1.0 + top) / 2, (back + rear) / 2),
            (width, top - 1.0, back - rear),
            load,
            texture=planks,
            seed=dice.seed(),
            **body,
        ),
        box((0, 1.5, (back + rear) / 2), (width + 0.02, 0.4, back - rear - 0.4), stripe, **body),
        box((0, 0.8, 0), (width - 0.5, 0.4, length - 0.1), DARK, **body),
        box((0, 0.62, 0), (width - 0.1, 0.22, length + 0.05), METAL, **body),
        box((0, 2.1, front - 0.3), (width + 0.5, 0.5, 0.15), DARK, **body),
        *_lights(width, 0.82, length + 0.06, away, 0.4, **common),
        _plate(0.6, length + 0.04, **common),
        *(
            _wheel((0, 0.48, z), size, width + wider, colour, part=WHEEL, **common)
            for z in (front - 1.0, rear + 1.3, rear + 2.5)
            for size, wider, colour in ((0.96, 0.0, RUBBER), (0.5, 0.03, METAL))
        ),
        _contact(width, length),
    ]


def bus(dice: Dice, instance: int = 0, away: bool = True) -> list[Solid]:
    """A city bus: a band of windows all around, a band of another colour, a lit destination."""
    length, width = dice.uniform(9.5, 12.0), 2.5
    paint, band = dice.shuffled(LIVERIES)[:2]
    common = {"label": LABEL["bus"], "instance": instance}
    body = {**common, "part": CHASSIS, "gloss": 0.2}
    glass = {**common, "part": WINDOW, "gloss": 0.2}
    panes = Texture(cell=(length / 7, 0), joint=0.1, second=DARK, variety=0.3)
    front = length / 2
    return [
        box((0, 1.69, 0), (width, 2.72, length), paint, **body),
        box((0, 0.62, 0), (width + 0.02, 0.5, length + 0.02), band, **body),
        box(
            (0, 1.95, 0),
            (width + 0.03, 0.95, length - 0.5),
            GLASS,
            texture=panes,
            seed=dice.seed(),
            **glass,
        ),
        box((0, 1.9, 0), (width - 0.35, 1.15, length + 0.03), GLASS, **glass),
        box((0, 2.72, 0), (1.5, 0.26, length + 0.05), (0.7, 0.35, 0.03), glow=0.6, **body),
        box((0, 3.1, -1.0), (1.6, 0.25, 3.0), paint, **body),
        *_lights(width, 0.85, length + 0.06, away, 0.34, **common),
        _plate(0.5, length + 0.04, **common),
        *(
            _wheel((0, 0.48, z), size, width + wider, colour, part=WHEEL, **common)
            for z in (front - 2.6, -front + 3.0)
            for size, wider, colour in ((0.96, 0.04, RUBBER), (0.5, 0.06, METAL))
        ),
        _contact(width, length),
    ]


def train(dice: Dice, instance: int = 0, away: bool = True) -> list[Solid]:
    """A tram of three wagons."""
    width, wagon = 2.4, 9.0
    paint, band = dice.shuffled(LIVERIES)[:2]
    common = {"label": LABEL["train"], "instance": instance}
    panes = Texture(cell=(wagon / 7, 0), joint=0.12, second=_darker(paint), variety=0.3)
    solids = []
    for k in (-1, 0, 1):
        z = k * (wagon + 0.4)
        solids += [
            box((0, 1.85, z), (width, 2.9, wagon), paint, gloss=0.4, **common),
            box((0, 0.85, z), (width + 0.02, 0.5, wagon + 0.02), band, **common),
            box(
                (0, 2.15, z),
                (width + 0.03, 1.0, wagon - 0.6),
                GLASS,
                texture=panes,
                seed=dice.seed(),
                gloss=0.2,
                **common,
            ),
            box((0, 0.35, z), (width - 0.3, 0.6, wagon - 0.4), DARK, **common),
        ]
    end = wagon * 1.5 + 0.4
    lamp = (0.5, 0.03, 0.02) if away else (0.9, 0.88, 0.75)
    return [
        *solids,
        box((0, 1.9, 0), (width - 0.4, 2.4, 2 * wagon), DARK, **common),
        box((0, 2.1, 0), (width - 0.3, 1.25, 2 * end + 0.03), GLASS, gloss=0.2, **common),
        box((0, 2.95, 0), (1.3, 0.24, 2 * end + 0.04), (0.7, 0.35, 0.03), glow=0.6, **common),
        box((0.8, 0.95, 0), (0.3, 0.2, 2 * end + 0.05), lamp, glow=0.4, **common),
        box((-0.8, 0.95, 0), (0.3, 0.2, 2 * end + 0.05), lamp, glow=0.4, **common),
        box((0, 3.4, 0), (1.6, 0.2, 2.0), DARK, **common),
        _bar((0, 3.4, -0.4), (0, 4.6, 0.4), 0.08, DARK, **common),
        _contact(width, 2 * end),
    ]


def bicycle(dice: Dice, instance: int = 0, rider: int | None = None) -> list[Solid]:
    """A bicycle; ``rider`` is the instance of the person on it, ``None`` for none.

    The wheels are filled, as they are in the labels of Cityscapes.
    """
    paint = dice.choice(PAINTS)
    common = {"label": LABEL["bicycle"], "instance": instance}
    solids = []
    for z in (-0.52, 0.52):
        solids.append(_wheel((0, 0.34, z), 0.68, 0.05, RUBBER, **common))
        solids.append(_wheel((0, 0.34, z), 0.56, 0.06, (0.13, 0.13, 0.13), **common))
    joints = {"head": (0, 0.85, 0.38), "seat": (0, 0.82, -0.22), "pedals": (0, 0.3, -0.05)}
    for a, b in (("head", "seat"), ("head", "pedals"), ("seat", "pedals")):
        solids.append(_bar(joints[a], joints[b], 0.06, paint, **common))
    solids += [
        _bar(joints["head"], (0, 0.34, 0.52), 0.05, paint, **common),
        box((0, 0.95, -0.24), (0.16, 0.07, 0.26), DARK, **common),
        box((0, 1.02, 0.36), (0.56, 0.05, 0.06), METAL, **common),
    ]
    return solids if rider is None else [*solids, *_rider(dice, rider, 0.93, -0.2)]


def motorcycle(dice: Dice, instance: int = 0, rider: int | None = None) -> list[Solid]:
    """A motorcycle; ``rider`` is the instance of the person on it, ``None`` for none."""
    paint = dice.choice(PAINTS)
    common = {"label": LABEL["motorcycle"], "instance": instance}
    lamp = (0.8, 0.8, 0.7)
    solids = [
        *(
            _wheel((0, 0.32, z), size, width, colour, **common)
            for z in (-0.7, 0.7)
            for size, width, colour in ((0.64, 0.16, RUBBER), (0.36, 0.18, METAL))
        ),
        box((0, 0.5, 0.0), (0.3, 0.4, 0.8), DARK, **common),
        ellipsoid((0, 0.82, 0.2), (0.36, 0.34, 0.7), paint, gloss=0.6, **common),
        box((0, 0.8, -0.4), (0.28, 0.12, 0.75), DARK, **common),
        ellipsoid((0, 0.72, -0.72), (0.26, 0.28, 0.5), paint, gloss=0.6, **common),
        _bar((0, 0.98, 0.48), (0, 0.34, 0.72), 0.09, METAL, **common),
        box((0, 1.05, 0.42), (0.72, 0.06, 0.08), DARK, **common),
        ellipsoid((0, 0.9, 0.6), (0.2, 0.2, 0.16), lamp, **common),
        box((0, 0.72, -0.96), (0.16, 0.1, 0.05), (0.5, 0.02, 0.02), **common),
    ]
    return solids if rider is None else [*solids, *_rider(dice, rider, 0.8, -0.25)]


def _rider(dice: Dice, instance: int, seat: float, back: float) -> list[Solid]:
    sitting = person(dice, LABEL["rider"], instance, "sitting", 1.7)
    return [
        solid._replace(
            centre=(solid.centre[0], solid.centre[1] + seat - SEAT, solid.centre[2] + back)
        )
        for solid in sitting
    ]


def _wheel(at: Vector, diameter: float, width: float, colour: Vector, **rest) -> Solid:
    """A wheel, or with the width of the vehicle a pair on one axle."""
    size = (diameter, width, diameter)
    return cylinder(at, size, colour, axes=ACROSS, **rest)


def _lights(width: float, y: float, length: float, away: bool, size: float, **rest) -> list[Solid]:
    """Two bars through the whole vehicle that come out at both ends, in the colour of one end."""
    colour = (0.45, 0.015, 0.01) if away else (0.85, 0.85, 0.8)
    x = (width - size) / 2 - 0.05
    return [
        box((side * x, y, 0), (size, 0.17, length + 0.04), colour, part=LIGHT, gloss=0.2, **rest)
        for side in (-1, 1)
    ]


def _plate(y: float, length: float, **rest) -> Solid:
    return box((0, y, 0), (0.52, 0.13, length + 0.1), (0.75, 0.75, 0.7), part=PLATE, **rest)


def _contact(width: float, length: float) -> Solid:
    """The darkness under a vehicle, where little of the sky's light comes."""
    return box((0, 0.002, 0), (width, 0.004, length), SHADE, label=LABEL["road"], casts=False)


def _slope(
    low: tuple[float, float],
    high: tuple[float, float],
    width: float,
    thick: float,
    colour: Vector,
    **rest,
) -> Solid:
    """A slanting screen from ``low`` to ``high``, each (y, z), that reaches ``thick`` inwards.

    What is thick ends inside the cabin and the body, so the sides are closed.
    """
    dy, dz = high[0] - low[0], high[1] - low[1]
    along = math.sqrt(dy * dy + dz * dz)
    up = (0.0, dy / along, dz / along)
    inwards = (0.0, -abs(dz) / along, math.copysign(dy / along, dz))
    middle = [(a + b) / 2 + thick / 2 * n for a, b, n in zip(low, high, inwards[1:], strict=True)]
    axes: Axes = ((1.0, 0.0, 0.0), up, inwards)
    return box((0, middle[0], middle[1]), (width, along, thick), colour, axes=axes, **rest)


def _bar(start: Vector, end: Vector, thick: float, colour: Vector, **rest) -> Solid:
    """A straight bar between two points of the plane x = 0."""
    dy, dz = end[1] - start[1], end[2] - start[2]
    along = math.sqrt(dy * dy + dz * dz)
    axes: Axes = ((1.0, 0.0, 0.0), (0.0, dy / along, dz / along), (0.0, -dz / along, dy / along))
    middle = (0.0, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
    return box(middle, (thick, along, thick), colour, axes=axes, **rest)


def _darker(colour: Vector) -> Vector:
    return (colour[0] * 0.4, colour[1] * 0.4, colour[2] * 0.4)
