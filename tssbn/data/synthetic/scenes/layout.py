"""Furnishes a room: chooses the places of furniture, things on walls, people and lamps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import fixtures, seats, things
from . import furniture as f
from .dice import Dice
from .interior import METAL, OBJECTS, VOID, group, scaled, size
from .people import person
from .solids import (
    Camera,
    Light,
    Scene,
    Solid,
    Vector,
    cylinder,
    ellipsoid,
    place,
    rotation,
)

Rectangle = tuple[float, float, float, float]  # from, to; from, to
Piece = list[Solid]

KINDS: tuple[tuple[Callable[[Dice], Piece], ...], ...] = (
    (f.bed, f.nightstand, f.cupboard, f.desk, f.nightstand),
    (seats.sofa, f.television, seats.armchair, f.bookcase, seats.sofa),
    (f.cupboard, f.cupboard, f.bookcase, seats.sofa),
    (f.desk, f.bookcase, f.bookcase, seats.armchair),
    (f.kitchen, f.kitchen, f.cupboard),
    (f.bed, seats.sofa, f.desk, f.television, f.bookcase),
)
BEDROOM, LIVING_ROOM, DINING_ROOM, STUDY, KITCHEN, STUDIO = range(len(KINDS))
EXTRAS = (
    *(f.cupboard, f.cupboard, f.cupboard, f.bookcase, f.nightstand, seats.armchair, seats.chair),
    *(things.floor_plant, things.floor_lamp, things.parcel, things.parcel),
)
LOOSE = (things.parcel, things.parcel, seats.chair)

WARM, WHITE, DAY = (1.0, 0.82, 0.6), (1.0, 0.95, 0.88), (0.85, 0.95, 1.1)


class Room:
    """A room that is being furnished, with x from -wide/2 to wide/2 and z from 0 to deep.

    For each piece a few random places are tried. If none of them is free, the piece is left out.
    """

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.wide, self.deep = dice.uniform(2.8, 4.8), dice.uniform(3.0, 5.2)
        self.high = dice.uniform(2.4, 2.9)
        self.length = {"far": self.wide, "left": self.deep, "right": self.deep}
        self.solids = fixtures.ground(dice, self.wide, self.deep, self.high)
        sides = fixtures.walls(dice, (*self.length.values(), self.wide), self.high)
        for name, side in zip(self.length, sides, strict=False):
            self.solids += place(side, *self.at(name, self.length[name] / 2))
        self.solids += place(sides[-1], (0, 0, 0))  # behind the camera
        self.instances = 0
        self.taken: list[Rectangle] = []  # of the floor: x, z
        self.hung: dict[str, list[Rectangle]] = {name: [] for name in self.length}  # along it, up

    def add(self, piece: Sequence[Solid], at: Vector = (0, 0, 0), yaw: float = 0.0) -> None:
        """Add solids at a place; each of their instances gets a new number, from 1 up."""
        first = self.instances + 1
        self.instances = first + max(solid.instance for solid in piece)
        self.solids += [
            solid._replace(instance=solid.instance + first) for solid in place(piece, at, yaw)
        ]

    def at(self, wall: str, s: float, y: float = 0.0) -> tuple[Vector, float]:
        """Return the point ``s`` metres along a wall and ``y`` up, and the yaw away from it."""
        if wall == "far":
            return (s - self.wide / 2, y, self.deep), 180.0
        side = -1 if wall == "left" else 1
        return (side * self.wide / 2, y, s), -90.0 * side

    def _wall(self) -> str:
        return self.dice.choice(("far", "far", "left", "right"))  # the far wall is seen best

    def stand(self, piece: Piece, tries: int = 10) -> bool:
        """Put a piece against a wall, at a free place."""
        wide, high, deep = size(piece)
        for _ in range(tries):
            wall, u = self._wall(), self.dice.uniform()
            if wide > self.length[wall]:
                continue
            # the beginning of the side walls is beside the camera, out of sight
            start = 0.0 if wall == "far" else min(0.9, self.deep - wide)
            s = start + wide / 2 + u * (self.length[wall] - start - wide)
            (x, _, z), yaw = self.at(wall, s)
            ahead = rotation(yaw)[2]
            across, along = (wide, deep) if wall == "far" else (deep, wide)
            on_floor = _around(x + ahead[0] * deep / 2, across, z + ahead[2] * deep / 2, along)
            on_wall = (s - wide / 2, s + wide / 2, 0.0, high)
            if _free(on_floor, self.taken) and _free(on_wall, self.hung[wall]):
                self.taken.append(on_floor)
                self.hung[wall].append(on_wall)
                self.add(piece, (x, 0, z), yaw)
                return True
        return False

    def hang(self, piece: Piece, y: float, tries: int = 4) -> tuple[Vector, float] | None:
        """Hang a piece on a wall with its origin ``y`` metres up; return its place."""
        wide, high, _ = size(piece)
        for _ in range(tries):
            wall, u = self._wall(), self.dice.uniform()
            s = wide / 2 + 0.1 + u * (self.length[wall] - wide - 0.2)
            on_wall = (s - wide / 2, s + wide / 2, y - high, y + high)
            if wide + 0.2 < self.length[wall] and _free(on_wall, self.hung[wall]):
                self.hung[wall].append(on_wall)
                at, yaw = self.at(wall, s, y)
                self.add(piece, at, yaw)
                return at, yaw
        return None

    def put(self, piece: Piece, reach: float, yaw: float, tries: int = 10) -> bool:
        """Put a piece on the floor where a square of side 2 * ``reach`` around it is free."""
        for _ in range(tries):
            x = self.dice.uniform(-0.9, 0.9) * (self.wide / 2 - reach)
            z = self.dice.uniform(0.35, 1) * (self.deep - reach)
            square = _around(x, 2 * reach, z, 2 * reach)
            if _free(square, self.taken):
                self.taken.append(square)
                self.add(piece, (x, 0, z), yaw)
                return True
        return False


def _around(x: float, wide: float, z: float, deep: float) -> Rectangle:
    return (x - wide / 2, x + wide / 2, z - deep / 2, z + deep / 2)


def _free(one: Rectangle, others: Sequence[Rectangle]) -> bool:
    a, b, c, d = one
    return all(b <= e or f <= a or d <= g or h <= c for e, f, g, h in others)


def furnished(dice: Dice, people: float) -> Scene:
    """Make one furnished room; ``people`` is the probability that somebody is in it."""
    room, kind = Room(dice), dice.integer(0, len(KINDS) - 1)
    eye = (dice.uniform(-0.32, 0.32) * room.wide, dice.uniform(1.15, 1.65), dice.uniform(0.2, 0.6))
    inwards = -50 * eye[0] / room.wide
    camera = Camera(eye, inwards + dice.uniform(-22, 22), dice.uniform(-19, -2))
    room.taken.append(_around(eye[0], 0.9, eye[2] + 0.25, 1.3))
    guests = dice.integer(1, 2) if dice.chance(people) else 0
    daylight = dice.chance(0.65)

    if dice.chance(0.6):
        room.hang(fixtures.door(dice), 0.0)
    sun = None
    for _ in range(dice.choice((0, 1, 1, 2))):
        sun = room.hang(fixtures.window(dice, daylight), dice.uniform(1.45, 1.6)) or sun
    if kind == LIVING_ROOM or dice.chance(0.5):
        at = (dice.uniform(-0.2, 0.2) * room.wide, 0, dice.uniform(0.45, 0.65) * room.deep)
        room.add(fixtures.carpet(dice), at, dice.uniform(-12, 12))

    if kind in (DINING_ROOM, KITCHEN) or dice.chance(0.15):
        seated = guests > 0 and dice.chance(0.5)
        table, reach = _dining(dice, seated)
        guests -= room.put(table, reach, _nearly_square(dice)) and seated
    for build in KINDS[kind]:
        seated = build in (seats.sofa, seats.armchair) and guests > 0 and dice.chance(0.5)
        piece = build(dice)
        guests -= room.stand(_with_sitter(dice, piece) if seated else piece) and seated
    for _ in range(guests):
        room.put(_someone(dice, dice.choice(("standing", "walking"))), 0.25, dice.uniform(0, 360))
    if kind in (LIVING_ROOM, STUDIO):
        room.put(_coffee_table(dice), 0.6, _nearly_square(dice))
    if dice.chance(0.2):
        room.stand(fixtures.radiator(dice))
    for _ in range(dice.integer(3, 6)):
        room.stand(dice.choice(EXTRAS)(dice))
    for _ in range(dice.integer(0, 3)):
        room.put(dice.choice(LOOSE)(dice), 0.35, dice.uniform(0, 360))
    if dice.chance(0.15):
        room.hang(fixtures.wall_screen(dice), 1.4)
    if dice.chance(0.2):
        room.hang(fixtures.mirror(dice), 1.5)
    for _ in range(dice.integer(0, 4)):
        room.hang(fixtures.picture(dice), dice.uniform(1.4, 1.75))

    tone, base = dice.choice((WARM, WHITE, WHITE)), dice.uniform(0.16, 0.3)
    lights = _lights(room, tone, sun if daylight else None)
    ambient, exposure = (scaled(tone, base), scaled(tone, base * 0.75)), dice.uniform(0.42, 0.6)
    return Scene(camera, room.solids, lights, ambient, exposure=exposure)


def _lights(room: Room, tone: Vector, sun: tuple[Vector, float] | None) -> list[Light]:
    """A lamp on the ceiling, which may be out of sight, and daylight or a second lamp."""
    dice = room.dice
    bulb = (dice.uniform(-0.5, 0.5), room.high - 0.25, room.deep * dice.uniform(0.4, 0.7))
    if dice.chance(0.8):
        look = {"label": OBJECTS, "casts": False}
        shade = ellipsoid(bulb, (0.4, 0.24, 0.4), scaled(tone, 1.5), glow=0.8, **look)
        cord = (bulb[0], room.high - 0.12, bulb[2])
        room.add([shade, cylinder(cord, (0.03, 0.25, 0.03), METAL, **look)])
    if sun:
        (x, y, z), yaw = sun
        inward = rotation(yaw)[2]
        inside = (x + inward[0] * 0.35, y + 0.3, z + inward[2] * 0.35)
        second = Light(inside, DAY, reach=2.5)
    else:
        side = dice.choice((-0.4, 0.4))
        corner = (side * room.wide, 1.6, room.deep * dice.uniform(0.2, 0.8))
        second = Light(corner, scaled(WARM, dice.uniform(0.1, 0.6)), reach=1.5)
    power = dice.uniform(0.25, 0.8) if sun else dice.uniform(0.8, 1.1)
    return [Light(bulb, scaled(tone, power), reach=3.0), second]


def _nearly_square(dice: Dice) -> float:
    return dice.choice((0, 90)) + dice.uniform(-8, 8)


def _someone(dice: Dice, pose: str) -> Piece:
    return person(dice, VOID, pose=pose, height=dice.uniform(1.5, 1.88))


def _with_sitter(dice: Dice, seat: Piece) -> Piece:
    """Somebody on a sofa or an armchair."""
    span = max(size(seat)[0] / 2 - 0.5, 0.0)
    sitter = place(_someone(dice, "sitting"), (dice.uniform(-span, span), -0.03, 0.42))
    return group(seat, sitter)


def _coffee_table(dice: Dice) -> Piece:
    wide, deep, high = dice.uniform(0.8, 1.2), dice.uniform(0.5, 0.7), dice.uniform(0.36, 0.46)
    return place(f.table(dice, wide, deep, high, dice.integer(1, 3)), (0, 0, -deep / 2))


def _dining(dice: Dice, seated: bool) -> tuple[Piece, float]:
    """A table around the origin with chairs of one kind, perhaps somebody on one of them, and how
    far all that reaches."""
    wide, deep = dice.uniform(0.9, 1.7), dice.uniform(0.8, 0.95)
    table = f.table(dice, wide, deep, dice.uniform(0.72, 0.77), dice.integer(1, 4))
    along = (-0.33, 0.33) if wide > 1.3 else (0.0,)
    places = [(x, z, yaw) for x in along for z, yaw in ((deep / 2, 180.0), (-deep / 2, 0.0))]
    places += [(wide / 2, 0.0, -90.0), (-wide / 2, 0.0, 90.0)]
    chair, chairs = seats.chair(dice), []
    for k, (x, z, yaw) in enumerate(dice.shuffled(places)):
        back, turn, used = dice.uniform(0.3, 0.55), dice.uniform(-15, 15), dice.chance(0.75)
        ahead = rotation(yaw)[2]
        at = (x - ahead[0] * back, 0.0, z - ahead[2] * back)
        if k == 0 and seated:
            sitter = place(_someone(dice, "sitting"), (0, 0, 0.2))
            chairs.append(place(group(chair, sitter), at, yaw))
        elif used:
            chairs.append(place(chair, at, yaw + turn))
    return group(place(table, (0, 0, -deep / 2)), *chairs), max(wide, deep) / 2 + 0.45
