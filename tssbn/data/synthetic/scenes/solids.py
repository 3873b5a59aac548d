"""What a scene is: solids, a camera and lights, in plain Python numbers.

World: metres, x to the right, y UP, z forward, the ground at y = 0. Camera: x right, y DOWN,
z forward, as in every sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "BOX",
    "CYLINDER",
    "ELLIPSOID",
    "Camera",
    "Light",
    "Scene",
    "Solid",
    "Texture",
    "box",
    "brightened",
    "cylinder",
    "ellipsoid",
    "place",
    "rotation",
]

Vector = tuple[float, float, float]
Axes = tuple[Vector, Vector, Vector]

BOX, ELLIPSOID, CYLINDER = range(3)
IDENTITY: Axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class Texture(NamedTuple):
    """A pattern on a surface: cells (tiles, planks, stripes, windows ...) and grain.

    A surface point has coordinates (u, v) in metres on the solid's own faces, counted from the
    middle of the face, v along the local y axis where the face has one. Everything is relative to
    the solid's colour.

    Attributes:
        cell: (u, v) size of a cell in metres; 0 divides nothing that way.
        shift: how far every other row is shifted, in cells; 0.5 for bricks.
        joint: width of the joint between cells, metres.
        second: colour of the joints or, with ``checks``, of every other cell.
        checks: every other cell takes the second colour; there are no joints.
        variety: how much the cells differ in brightness, 0..1.
        hues: how much the cells differ in colour, 0..1.
        grain: (u, v) size of the smooth noise in metres; 0 for none.
        rough: its strength, 0..1.
    """

    cell: tuple[float, float] = (0.0, 0.0)
    shift: float = 0.0
    joint: float = 0.0
    second: Vector = (0.0, 0.0, 0.0)
    checks: bool = False
    variety: float = 0.0
    hues: float = 0.0
    grain: tuple[float, float] = (0.0, 0.0)
    rough: float = 0.0


PLAIN = Texture()


class Solid(NamedTuple):
    """A box, an ellipsoid or a cylinder (round in local x and z, flat ends at local ±y).

    Attributes:
        shape: ``BOX``, ``ELLIPSOID`` or ``CYLINDER`` (whose half sizes x and z are equal).
        centre: in world coordinates.
        half: half sizes along the local axes, metres.
        colour: linear red, green, blue in 0..1.
        label: class in the recipe's own list, -1 for void.
        part: index into ``labels.PARTS``.
        instance: which object it belongs to, 1 and up; 0 for what is no object (walls, road).
        axes: the three local axes, orthogonal unit vectors in world coordinates.
        texture: what is painted on it.
        seed: of the texture.
        glow: 0 lit by the lights .. 1 shows its colour as it is (lamps, screens, a view outside).
        gloss: strength of the highlight, 0..1.
        casts: it throws shadows; not so walls and what lies flat on them.
    """

    shape: int
    centre: Vector
    half: Vector
    colour: Vector
    label: int = -1
    part: int = 0
    instance: int = 0
    axes: Axes = IDENTITY
    texture: Texture = PLAIN
    seed: int = 0
    glow: float = 0.0
    gloss: float = 0.0
    casts: bool = True


class Camera(NamedTuple):
    """A pinhole camera.

    Pixel (row i, column j) of an H x W picture looks along x = (j + 1/2 - W/2) / f,
    y = (i + 1/2 - H/2) / f, z = 1, where f = ``focal`` * W pixels.

    Attributes:
        eye: where it stands.
        yaw, pitch: degrees, positive to the right and upwards.
        focal: focal length in picture widths.
    """

    eye: Vector
    yaw: float = 0.0
    pitch: float = 0.0
    focal: float = 0.81


class Light(NamedTuple):
    """A lamp, or the sun.

    Attributes:
        position: of a lamp; of a ``distant`` light the direction towards it, of any length.
        colour: its light on a face that looks at it, linear red, green, blue.
        reach: a lamp's light falls off with the distance d as reach² / (reach² + d²); metres.
        distant: the light comes from infinitely far and does not fall off.
    """

    position: Vector
    colour: Vector
    reach: float = 2.0
    distant: bool = False


@dataclass(frozen=True)
class Scene:
    """What is rendered.

    Attributes:
        ambient: the light that has no direction, on faces that look (up, down).
        sky: what a ray sees that meets nothing, at the (zenith, horizon); its depth is infinite.
        sky_label: the class of those pixels.
        haze: mixes in the colour of the horizon, by half at 1/haze metres.
        exposure: the mean brightness that the camera's automatic exposure aims at.
    """

    camera: Camera
    solids: list[Solid]
    lights: list[Light]
    ambient: tuple[Vector, Vector] = ((0.3, 0.3, 0.3), (0.2, 0.2, 0.2))
    sky: tuple[Vector, Vector] = ((0.25, 0.45, 0.9), (0.8, 0.85, 0.95))
    sky_label: int = -1
    haze: float = 0.0
    exposure: float = 0.42


# ------------------------------------------------------------------ building scenes, plain numbers


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Axes:
    """Axes of a solid that was rolled about z, then pitched about x, then turned about y; degrees.

    Positive yaw turns its z axis to the right (+x), positive pitch lifts its z axis, positive roll
    lifts its x axis.

    Example:
        >>> rotation(yaw=90)[2]  # what looked forward looks right
        (1.0, 0.0, 0.0)
    """
    (cy, sy), (cp, sp), (cr, sr) = _turn(yaw), _turn(pitch), _turn(roll)
    right, up, forward = (cy, 0.0, -sy), (0.0, 1.0, 0.0), (sy, 0.0, cy)
    up, forward = _mix(cp, up, -sp, forward), _mix(sp, up, cp, forward)
    right, up = _mix(cr, right, sr, up), _mix(-sr, right, cr, up)
    return right, up, forward


def _turn(degrees: float) -> tuple[float, float]:
    """Cosine and sine, the same on every machine: a library's may differ in the last bit."""
    quarters = round(degrees / 90)
    x = (degrees - 90 * quarters) * (3.141592653589793 / 360)  # half the rest, within ±π/8
    y = x * x
    t = x * (945 - 105 * y + y * y) / (945 - 420 * y + 15 * y * y)  # tan x to 1e-11
    c, s = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    return ((c, s), (-s, c), (-c, -s), (s, -c))[quarters % 4]


def _mix(a: float, v: Vector, b: float, w: Vector) -> Vector:
    return (a * v[0] + b * w[0], a * v[1] + b * w[1], a * v[2] + b * w[2])


def place(solids: Sequence[Solid], at: Vector, yaw: float = 0.0) -> list[Solid]:
    """The solids, turned by ``yaw`` degrees about the upright axis of the origin, then moved."""
    c, s = _turn(yaw)

    def turned(v: Vector) -> Vector:
        return (c * v[0] + s * v[2], v[1], c * v[2] - s * v[0])

    placed = []
    for solid in solids:
        x, y, z = turned(solid.centre)
        a, b, d = solid.axes
        placed.append(
            solid._replace(
                centre=(x + at[0], y + at[1], z + at[2]), axes=(turned(a), turned(b), turned(d))
            )
        )
    return placed


def box(centre: Vector, size: Vector, colour: Vector, **rest) -> Solid:
    """A box by its full size; ``rest`` are the other fields of :class:`Solid`."""
    return Solid(BOX, centre, _half(size), colour, **rest)


def ellipsoid(centre: Vector, size: Vector, colour: Vector, **rest) -> Solid:
    """An ellipsoid by its three diameters."""
    return Solid(ELLIPSOID, centre, _half(size), colour, **rest)


def cylinder(centre: Vector, size: Vector, colour: Vector, **rest) -> Solid:
    """A cylinder by (diameter, height along local y, diameter)."""
    return Solid(CYLINDER, centre, _half(size), colour, **rest)


def brightened(colour: Vector, factor: float) -> Vector:
    """A colour times ``factor``, none of its parts above 1."""
    return (
        min(1.0, colour[0] * factor),
        min(1.0, colour[1] * factor),
        min(1.0, colour[2] * factor),
    )


def _half(size: Vector) -> Vector:
    return (size[0] * 0.5, size[1] * 0.5, size[2] * 0.5)
