"""The traffic in a street: parked and driving vehicles, people, and the car with the camera."""

from __future__ import annotations

from .classes import LABEL
from .dice import Dice
from .people import person
from .solids import ellipsoid
from .townplan import KERB, LANE, Street
from .vehicles import bicycle, bus, car, motorcycle, train, truck

__all__ = ["populate"]

VEHICLES = (
    *(*("car",) * 11, *("truck",) * 3, *("bus",) * 3, *("train",) * 2),
    *(*("motorcycle",) * 3, *("bicycle",) * 5),
)


def populate(street: Street, dice: Dice) -> None:
    """Add vehicles and people to the street."""
    for side in (-1, 1):
        _parked(street, dice, side)
    _traffic(street, dice)
    _people(street, dice)
    _bonnet(street)


def _parked(street: Street, dice: Dice, side: int) -> None:
    if not street.parking[side]:
        return
    x, z = side * (street.kerb[side] - 1.05), dice.uniform(8, 16)
    full = dice.uniform(0.5, 0.95)
    while z < 60:
        if dice.chance(full) and street.free(z, 6.0):
            away = side == 1 or dice.chance(0.2)
            street.put(
                car(dice, street.instance(), away, near=z < 26),
                x + dice.uniform(-0.1, 0.1),
                z,
                (0 if away else 180) + dice.uniform(-2, 2),
            )
        z += dice.uniform(5.4, 7.0)


def _vehicle(street: Street, dice: Dice, x: float, z: float, away: bool) -> float:
    """Something that drives; returns how long it is."""
    kind = dice.choice(VEHICLES)
    yaw = (0 if away else 180) + dice.uniform(-1.5, 1.5)
    if kind in ("motorcycle", "bicycle"):
        make = motorcycle if kind == "motorcycle" else bicycle
        aside = dice.uniform(0.2, 1.2) * (1 if away else -1)
        street.put(make(dice, street.instance(), street.instance()), x + aside, z, yaw)
        return 2.0
    if kind == "car":
        street.put(car(dice, street.instance(), away, z < 26), x + dice.uniform(-0.3, 0.3), z, yaw)
        return 4.5
    length = {"truck": 9.0, "bus": 12.0, "train": 28.0}[kind]
    make = {"truck": truck, "bus": bus, "train": train}[kind]
    street.put(make(dice, street.instance(), away), x, z + length / 2 - 2, 0 if away else 180)
    return length


def _traffic(street: Street, dice: Dice) -> None:
    lanes = [(k * LANE, True) for k in range(1 + street.lanes_right)]
    lanes += [(-(k + 1) * LANE, False) for k in range(street.lanes_left)]
    for x, away in lanes:
        z = dice.uniform(9, 50)
        for _ in range(dice.integer(0, 2)):
            z += _vehicle(street, dice, x, z, away) + dice.uniform(6, 25)
    if street.crossing is not None and dice.chance(0.4):
        right = dice.chance(0.5)
        start, end = street.crossing
        z = start + (end - start) * (0.3 if right else 0.7)
        solids = car(dice, street.instance(), right, near=True)
        street.put(solids, dice.uniform(-9, 9), z, 90 if right else -90)


def _people(street: Street, dice: Dice) -> None:

    def walker(x: float, z: float, yaw: float, y: float) -> None:
        pose = "standing" if dice.chance(0.25) else "walking"
        height = dice.uniform(1.1, 1.4) if dice.chance(0.1) else dice.uniform(1.58, 1.9)
        someone = person(dice, LABEL["person"], street.instance(), pose, height)
        street.put(someone, x, z, yaw + dice.uniform(-20, 20), y)

    for side in (-1, 1):
        for _ in range(dice.integer(0, 4)):
            inner = street.kerb[side] + street.verge[side] + 0.4
            x = side * dice.uniform(inner, street.front[side] - 0.4)
            near = 2.2 * abs(x)
            z = near + (40 - near) * dice.uniform() * dice.uniform()
            if street.free(z):
                yaw = dice.choice((0, 0, 180, 180, 90, -90))
                walker(x, z, yaw, KERB)
                if dice.chance(0.35):
                    walker(x + side * 0.1 + 0.6, z + dice.uniform(-0.2, 0.2), yaw, KERB)
        if dice.chance(0.4):
            x, yaw = side * (street.kerb[side] + 0.5), dice.choice((0, 180, 60, -60))
            z = dice.uniform(2.3 * abs(x), 26)
            for _ in range(dice.integer(1, 3)):
                if street.free(z):
                    make = dice.choice((bicycle, bicycle, bicycle, motorcycle))
                    turn = dice.uniform(-12, 12)
                    street.put(make(dice, street.instance()), x, z, yaw + turn, KERB)
                z += 0.9 if abs(yaw) == 60 else 2.2
    if street.crossing is not None and dice.chance(0.5):
        for _ in range(dice.integer(1, 3)):
            x = dice.uniform(-street.kerb[-1], street.kerb[1])
            walker(x, street.crossing[0] - dice.uniform(1.3, 3.7), dice.choice((90, -90)), 0.0)


def _bonnet(street: Street) -> None:
    """Of the car that carries the camera; void, as in Cityscapes."""
    dark = (0.03, 0.03, 0.03)
    street.solids.append(
        ellipsoid((0, 0.55, 1.3), (1.9, 0.62, 2.6), dark, label=-1, gloss=0.7, casts=False)
    )
