"""A person, built of solids with the body part of each."""

from __future__ import annotations

import math

from .dice import Dice
from .labels import PARTS
from .paint import checks, cloth, stripes
from .solids import Axes, Solid, Texture, Vector, box, cylinder, ellipsoid, rotation

__all__ = ["POSES", "SEAT", "person"]

POSES = ("standing", "walking", "sitting")
SEAT = 0.46  # metres: the height of the seat that a person of 1.7 m sits on

SKIN = ((0.78, 0.52, 0.4), (0.66, 0.42, 0.3), (0.42, 0.25, 0.16), (0.16, 0.09, 0.06))
HAIR = ((0.02, 0.018, 0.015), (0.08, 0.045, 0.025), (0.22, 0.12, 0.05), (0.5, 0.36, 0.16),
        (0.42, 0.42, 0.42), (0.3, 0.08, 0.03))  # fmt: skip
SHIRT = ((0.7, 0.7, 0.68), (0.03, 0.03, 0.04), (0.5, 0.06, 0.06), (0.08, 0.16, 0.4),
         (0.1, 0.28, 0.14), (0.62, 0.45, 0.1), (0.3, 0.32, 0.34), (0.35, 0.12, 0.3),
         (0.2, 0.42, 0.5), (0.6, 0.3, 0.25))  # fmt: skip
TROUSERS = ((0.05, 0.08, 0.18), (0.03, 0.03, 0.035), (0.3, 0.26, 0.18), (0.16, 0.17, 0.18),
            (0.12, 0.2, 0.34), (0.25, 0.12, 0.08))  # fmt: skip
SHOES = ((0.03, 0.03, 0.03), (0.5, 0.5, 0.5), (0.15, 0.07, 0.03), (0.35, 0.05, 0.05))


def person(
    dice: Dice,
    label: int = -1,
    instance: int = 0,
    pose: str = "standing",
    height: float = 1.7,
) -> list[Solid]:
    """A person at the origin who looks along +z; ``solids.place`` moves the solids elsewhere.

    Args:
        dice: chooses clothes, skin, hair and the exact pose.
        label, instance: the class and the instance of all solids.
        pose: ``"standing"``, ``"walking"`` or ``"sitting"``. A sitting person has the hips above
            the origin, on a seat of height ``SEAT`` * height / 1.7, and the feet on the ground in
            front of it.
        height: the height of the person when standing, in metres.

    Raises:
        ValueError: the pose is unknown.

    Example:
        >>> import torch
        >>> dice = Dice(torch.Generator().manual_seed(0))
        >>> someone = person(dice, pose="sitting")
        >>> sorted({PARTS[solid.part] for solid in someone})
        ['head', 'lower arm', 'lower leg', 'torso', 'upper arm', 'upper leg']
    """
    if pose not in POSES:
        raise ValueError(f"pose must be one of {POSES}, got {pose!r}")
    s = height / 1.7
    skin, hair = dice.choice(SKIN), dice.choice(HAIR)
    shirt, trousers, shoes = dice.choice(SHIRT), dice.choice(TROUSERS), dice.choice(SHOES)
    pattern = dice.choice(
        (cloth(0.1), cloth(0.1), stripes(0.05 * s, dice.choice(SHIRT), upright=False),
         checks(0.07 * s, dice.choice(SHIRT)))
    )  # fmt: skip
    build, seed = dice.uniform(0.88, 1.15), dice.seed()
    bare_arms, bare_legs, long_hair = dice.chance(0.45), dice.chance(0.2), dice.chance(0.4)
    body: list[Solid] = []

    def add(
        part: str, shape, centre: Vector, size: Vector, colour: Vector,
        axes: Axes = rotation(), texture: Texture = cloth(0.1),  # noqa: B008
    ) -> None:  # fmt: skip
        body.append(
            shape(
                tuple(s * c for c in centre), tuple(s * c for c in size), colour, label=label,
                part=PARTS.index(part), instance=instance, axes=axes, texture=texture, seed=seed,
            )
        )  # fmt: skip

    def limb(
        part: str, start: Vector, along: Vector, length: float, thick: float, colour
    ) -> Vector:
        """A limb from a joint into a direction; returns its other end."""
        end = tuple(a + length * d for a, d in zip(start, along, strict=True))
        middle = tuple((a + b) * 0.5 for a, b in zip(start, end, strict=True))
        size = (thick * build, length + thick, thick * build)
        add(part, ellipsoid, middle, size, colour, _upright_along(along))
        return end

    sitting = pose == "sitting"
    hips = SEAT + 0.1 if sitting else 0.9
    stride = dice.uniform(14, 26) if pose == "walking" else dice.uniform(0, 3)
    lean = dice.uniform(-6, 4) if sitting else 0.0  # back or forth

    for side in (-1, 1):
        thigh = dice.uniform(80, 88) if sitting else stride * side
        shin = dice.uniform(-15, 8) if sitting else min(thigh, thigh * 0.4) - 2.0 - stride * 0.4
        out = dice.uniform(0.02, 0.12) * side if sitting else 0.03 * side
        knee = limb(
            "upper leg", (0.09 * side, hips, 0.0), _hanging(thigh, out), 0.42, 0.155, trousers
        )
        ankle = limb(
            "lower leg", knee, _hanging(shin, 0.0), 0.4, 0.115, skin if bare_legs else trousers
        )
        foot = (ankle[0], max(ankle[1] - 0.04, 0.045), ankle[2] + 0.06)
        add("lower leg", ellipsoid, foot, (0.1, 0.09, 0.26), shoes)

    tilt = rotation(pitch=lean)
    spine = tilt[1]

    def above(up: float, right: float = 0.0, ahead: float = 0.0) -> Vector:
        return (
            right,
            hips + up * spine[1] + ahead * tilt[2][1],
            up * spine[2] + ahead * tilt[2][2],
        )

    add("torso", ellipsoid, above(0.02), (0.35 * build, 0.28, 0.25 * build), trousers, tilt)
    add("torso", ellipsoid, above(0.2), (0.34 * build, 0.5, 0.24 * build), shirt, tilt, pattern)
    add("torso", ellipsoid, above(0.37), (0.42 * build, 0.36, 0.23 * build), shirt, tilt, pattern)

    for side in (-1, 1):
        swing = dice.uniform(5, 45) if sitting else -stride * 0.9 * side + dice.uniform(-4, 8)
        bend = dice.uniform(50, 85) if sitting or dice.chance(0.2) else swing + dice.uniform(5, 25)
        shoulder = above(0.47, 0.2 * build * side)
        elbow = limb("upper arm", shoulder, _hanging(swing, 0.14 * side), 0.28, 0.1, shirt)
        fore = _hanging(bend, -0.1 * side)
        wrist = limb("lower arm", elbow, fore, 0.25, 0.08, skin if bare_arms else shirt)
        hand = tuple(w + 0.06 * f for w, f in zip(wrist, fore, strict=True))
        add("lower arm", ellipsoid, hand, (0.075, 0.17, 0.06), skin, _upright_along(fore))

    add("head", cylinder, above(0.54), (0.11, 0.14, 0.11), skin, tilt)
    add("head", ellipsoid, above(0.68, ahead=0.015), (0.155, 0.235, 0.19), skin)
    add("head", ellipsoid, above(0.715, ahead=-0.02), (0.175, 0.2, 0.195), hair)
    add("head", box, above(0.665, ahead=0.105), (0.025, 0.05, 0.035), skin)
    if long_hair:
        add("head", ellipsoid, above(0.6, ahead=-0.055), (0.19, 0.34, 0.12), hair)
    return body


def _hanging(swing: float, out: float) -> Vector:
    """The direction of a limb that hangs down, swung forward by degrees and a little sideways."""
    up = rotation(pitch=swing)[1]
    scale = 1 / math.sqrt(1 + out * out)
    return (out * scale, -up[1] * scale, -up[2] * scale)


def _upright_along(direction: Vector) -> Axes:
    """Axes whose y points along a unit direction (x is level, unless the direction is)."""
    x, y, z = direction
    level = math.sqrt(y * y + z * z)
    if level < 1e-6:
        return (0.0, 1.0, 0.0), direction, (0.0, 0.0, 1.0)
    # x axis: the world's x made orthogonal to the direction; z axis: at right angles to both
    u = (level, -x * y / level, -x * z / level)
    w = (u[1] * z - u[2] * y, u[2] * x - u[0] * z, u[0] * y - u[1] * x)
    return u, direction, w
