"""The plan of a street: road, pavements, houses, gardens, and what stands along the kerb."""

from __future__ import annotations

from .classes import LABEL
from .dice import Dice
from .houses import far_house, house
from .roadside import bush, hedge, lamp, planks, railing, sign, signals, tree, wall
from .solids import Solid, Texture, Vector, box, place

__all__ = ["KERB", "LANE", "Street", "build"]

LANE = 3.4  # metres
KERB = 0.13  # metres: its height
FAR = 400.0  # metres: where the road ends
END = 150.0  # metres: houses further away are not built

ASPHALT = Texture(grain=(0.5, 0.5), rough=0.25)
GRASS = Texture(grain=(0.3, 0.3), rough=0.6)


class Street:
    """A street under construction: its measures, and the solids that stand in it so far."""

    def __init__(self, dice: Dice, lit: bool) -> None:
        self.dice = dice
        self.solids: list[Solid] = []
        self.objects = 0
        self.lit = lit  # the lamps
        self.lanes_right = int(dice.chance(0.2))  # besides our own
        self.lanes_left = dice.choice((1, 1, 1, 2, 0))
        self.parking = {side: dice.chance(0.6) for side in (-1, 1)}
        lanes = {1: 0.5 + self.lanes_right, -1: 0.5 + self.lanes_left}
        self.kerb = {s: lanes[s] * LANE + (2.2 if self.parking[s] else 0.3) for s in (-1, 1)}
        self.verge = {s: dice.choice((0.0, 0.0, 1.8)) for s in (-1, 1)}
        self.front = {s: self.kerb[s] + self.verge[s] + dice.uniform(1.8, 4.5) for s in (-1, 1)}
        #: Where along z another street crosses, if one does.
        self.crossing: tuple[float, float] | None = None
        if dice.chance(0.5):
            start = dice.uniform(18, 48)
            self.crossing = (start, start + dice.uniform(6.5, 10.0))

    def instance(self) -> int:
        """Return the number of a new object."""
        self.objects += 1
        return self.objects

    def put(
        self, solids: list[Solid], x: float, z: float, yaw: float = 0.0, y: float = 0.0
    ) -> None:
        """Add solids that were built around the origin, at another place."""
        self.solids += place(solids, (x, y, z), yaw)

    def free(self, z: float, margin: float = 1.0) -> bool:
        """Whether z is neither on the crossing nor within ``margin`` of it."""
        if self.crossing is None:
            return True
        start, end = self.crossing
        return not start - margin < z < end + margin


def build(street: Street) -> None:
    """Build everything in the street that does not move."""
    _ground(street)
    _marks(street)
    for side in (-1, 1):
        _plots(street, side)
        _kerbside(street, side)
    _horizon(street)


def _ground(street: Street) -> None:
    dice = street.dice
    tone = dice.uniform(0.06, 0.13)
    road = {
        "colour": (tone, tone, tone * dice.uniform(0.95, 1.08)),
        "label": LABEL["road"],
        "texture": ASPHALT,
    }
    earth = (0.07 * dice.uniform(0.7, 1.4), 0.13 * dice.uniform(0.7, 1.3), 0.03)
    flat = {"casts": False, "seed": dice.seed()}
    add = street.solids.append
    add(_slab(-FAR, FAR, -20, 2 * FAR, -0.03, earth, label=LABEL["terrain"], texture=GRASS, **flat))
    left, right = -street.kerb[-1], street.kerb[1]
    add(_slab(left, right, -20, FAR, 0.0, **road, **flat))
    pavements = [(-20.0, FAR)]
    if street.crossing is not None:
        start, end = street.crossing
        add(_slab(-80, 80, start - 0.1, end + 0.1, -0.002, **road, **flat))
        pavements = [(-20.0, start), (end, FAR)]
    light = dice.uniform(0.17, 0.34)
    stone = (light, light * 0.97, light * dice.uniform(0.85, 0.95))
    size = dice.choice((0.5, 0.8, 1.0))
    slabs = Texture(cell=(size, size), joint=0.05, second=_grey(light * 0.5), variety=0.2)
    paved = {"label": LABEL["sidewalk"], **flat}
    for side in (-1, 1):
        inner, outer = street.kerb[side], street.front[side] + 0.5
        for start, end in pavements:
            ends = sorted((side * inner, side * outer))
            add(_slab(*ends, start, end, KERB, stone, texture=slabs, **paved))
            ends = sorted((side * inner, side * (inner + 0.16)))
            add(_slab(*ends, start, end, KERB + 0.004, _grey(light * 1.5), **paved))
            if street.verge[side]:
                ends = sorted((side * (inner + 0.3), side * (inner + street.verge[side])))
                kind = {"label": LABEL["terrain"], "texture": GRASS}
                add(_slab(*ends, start + 1, end - 1, KERB + 0.03, earth, **kind, **flat))


def _marks(street: Street) -> None:
    dice = street.dice
    paint = _grey(dice.uniform(0.5, 0.75))
    mark = {"label": LABEL["road"], "casts": False}
    add = street.solids.append
    dashes = (dice.uniform(2.5, 4.0), dice.uniform(3.0, 6.0))
    stop = END if street.crossing is None else street.crossing[0] - 1.5
    lines = [(0.5 + k) * LANE for k in range(street.lanes_right)]
    lines += [-(0.5 + k) * LANE for k in range(street.lanes_left)]
    if dice.chance(0.85):
        for x in lines:
            dash = END if dice.chance(0.2) else dashes[0]
            z = dice.uniform(2, 8)
            while z < min(stop, 90.0):
                add(_slab(x - 0.07, x + 0.07, z, min(z + dash, stop), 0.002, paint, **mark))
                z += dash + dashes[1]
    for side in (-1, 1):
        if street.parking[side] and dice.chance(0.5):
            x = side * (street.kerb[side] - 2.1)
            add(_slab(x - 0.06, x + 0.06, 2, stop, 0.002, paint, **mark))
    if street.crossing is not None:
        left, right = -street.kerb[-1], street.kerb[1]
        zebra = dice.chance(0.6)
        ends = (street.crossing[0] - 4.0, street.crossing[0] - 1.0)
        if zebra:
            x = left + 0.4
            while x < right - 0.5:
                add(_slab(x, x + 0.5, *ends, 0.0025, paint, **mark))
                x += 1.0
        line = ends[0] - 1.2 if zebra else ends[1]
        own = -0.5 * LANE if street.lanes_left else left
        add(_slab(own, right - 0.2, line, line + 0.4, 0.0025, paint, **mark))


def _plots(street: Street, side: int) -> None:
    """Houses and gardens along one side."""
    dice = street.dice
    town = dice.choice((0.95, 0.9, 0.8, 0.5, 0.2))  # how many of the plots have a house
    z = dice.uniform(-4.0, 6.0)
    corner, behind = (FAR, FAR) if street.crossing is None else street.crossing
    while z < END:
        length = dice.uniform(8, 18) * (1.0 if z < 60 else 1.8)
        if z < behind and z + length + 5.0 > corner:
            if corner - z < 5.0:
                _side_street(street, side)
                z = behind + 0.5
                continue
            length = corner - 0.5 - z
        front = street.front[side] + dice.choice((0.0, 0.0, 0.25, 0.5))
        if dice.chance(town):
            street.solids += house(dice, side, front, z, length)
        else:
            _garden(street, side, z, length)
        z += length + (dice.uniform(1.5, 4.0) if dice.chance(0.12) else 0.0)


def _garden(street: Street, side: int, z: float, length: float) -> None:
    dice = street.dice
    x = side * (street.front[side] + 0.2)
    border = dice.choice((hedge, planks, railing, wall, wall, None))
    if border is not None:
        street.solids += border(dice, x, z, length)
    for _ in range(dice.integer(1, 2) if z < 70 else 1):
        at = side * (street.front[side] + dice.uniform(2.5, 7.0))
        street.solids += tree(dice, at, z + dice.uniform(0.2, 0.8) * length, dice.uniform(1.5, 3))
    if dice.chance(0.6) and z < 70:
        at = side * (street.front[side] + dice.uniform(1.2, 2.5))
        street.solids += bush(dice, at, z + dice.uniform(0.2, 0.8) * length)
    if dice.chance(0.5):
        back = street.front[side] + dice.uniform(9, 16)
        street.solids += house(dice, side, back, z + 1, length - 2)


def _side_street(street: Street, side: int) -> None:
    """What closes the view into the street that crosses."""
    dice = street.dice
    middle = (street.crossing[0] + street.crossing[1]) / 2
    if dice.chance(0.5):
        street.solids += house(dice, side, street.front[side] + 40, middle - 15, 30)
    else:
        for k in range(2):
            at = side * (street.front[side] + 22 + 8 * k)
            street.solids += tree(dice, at, middle + dice.uniform(3, 12) * (1 - 2 * k))


def _kerbside(street: Street, side: int) -> None:
    """Trees, lamps, signs and bins along the kerb, and the signals of the crossing."""
    dice = street.dice
    x = side * (street.kerb[side] + 0.55)
    lamps, avenue = dice.chance(0.7), dice.chance(0.7 if street.verge[side] else 0.3)
    z, k = dice.uniform(7, 12), dice.integer(0, 3)
    while z < 80:
        if street.free(z):
            if k % 4 == 0 and lamps:
                street.solids += lamp(dice, side, x, z, street.lit)
            elif k % 4 in (1, 3) and avenue:
                street.solids += tree(dice, side * (street.kerb[side] + 0.9), z, 2.6)
            elif z < 50 and dice.chance(0.3):
                street.solids += sign(dice, x, z)
            elif z < 40 and dice.chance(0.3):
                _bin(street, side * (street.front[side] - 0.5), z)
        z += dice.uniform(3.5, 6.0) * (1.0 if z < 45 else 1.8)
        k += 1
    if street.crossing is not None and dice.chance(0.75):
        near, far = street.crossing[0] - 1.0, street.crossing[1] + 1.0
        if side == 1 and dice.chance(0.4):
            street.solids += signals(dice, x, near, dice.uniform(5.0, 5.8), arm=-x)
        else:
            street.solids += signals(dice, x, near)
        if dice.chance(0.5):
            street.solids += signals(dice, x, far)
        if dice.chance(0.3):
            street.solids += railing(dice, side * (street.kerb[side] + 0.3), near - 12, 10)
    elif dice.chance(0.3):
        street.solids += sign(dice, x, dice.uniform(9, 25))


def _bin(street: Street, x: float, z: float) -> None:
    """A litter bin: void, as the static things are that Cityscapes does not name."""
    colour = street.dice.choice(((0.05, 0.15, 0.06), (0.1, 0.1, 0.1), (0.4, 0.2, 0.03)))
    street.solids.append(box((x, 0.6, z), (0.55, 1.0, 0.6), colour, label=-1))


def _horizon(street: Street) -> None:
    """What the street leads to: houses across it, trees, or nothing."""
    dice = street.dice
    kind = dice.choice(("houses", "trees", "open"))
    if kind == "houses":
        z = dice.uniform(70, END)
        for x in (-18, 0, 18):
            street.solids += far_house(dice, x, z)
    elif kind == "trees":
        z = dice.uniform(90, END)
        for k in range(5):
            street.solids += tree(dice, -16 + 8 * k + dice.uniform(-2, 2), z + dice.uniform(0, 20))


def _slab(
    left: float, right: float, start: float, end: float, top: float, colour: Vector, **rest
) -> Solid:
    """Something flat on the ground, with its surface at the height ``top``."""
    thick = 0.5 if top <= 0 else top
    centre = ((left + right) / 2, top - thick / 2, (start + end) / 2)
    return box(centre, (right - left, thick, end - start), colour, **rest)


def _grey(value: float) -> Vector:
    return (value, value, value)
