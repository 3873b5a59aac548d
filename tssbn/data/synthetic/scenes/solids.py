"""The description of a scene: solids, a camera and lights, in plain Python numbers.

World coordinates are in metres: x to the right, y UP, z forward, and the ground is at y = 0. Camera
coordinates, as in every sample, are x right, y DOWN, z forward.
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
    """A pattern on a surface: cells (tiles, planks, stripes, windows ...) and smooth noise.

    A point of a face has coordinates (u, v) in metres from the middle of the face. v is along the
    solid's local y axis, if the face contains it. The pattern changes the solid's colour.

    Attributes:
        cell: the size of a cell along u and v in metres; 0 means no cells along this axis.
        shift: how far every other row is shifted, in cells; 0.5 for bricks.
        joint: the width of the joints between cells in metres.
        second: the colour of the joints or, with ``checks``, of every other cell.
        checks: whether every other cell has the second colour; then there are no joints.
        variety: how much the cells differ in brightness, 0 to 1.
        hues: how much the cells differ in colour, 0 to 1.
        grain: the size of the noise along u and v in metres; 0 for no noise.
        rough: the strength of the noise, 0 to 1.
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
        centre: the centre in world coordinates.
        half: the half sizes along the local axes in metres.
        colour: linear red, green and blue, 0 to 1.
        label: the class, an index into the list of the data set; -1 for void.
        part: an index into ``labels.PARTS``.
        instance: the number of the object, from 1 up; 0 for surfaces such as walls and road.
        axes: the three local axes, orthogonal unit vectors in world coordinates.
        texture: the pattern on the surface.
        seed: the seed of the pattern.
        glow: from 0 to 1, how far the colour is shown as it is instead of lit by the lights. It is
            1 for lamps, screens and a view outside.
        gloss: the strength of the highlight, 0 to 1.
        casts: whether it throws shadows; walls and things flat on them do not.
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
        eye: the position in world coordinates.
        yaw, pitch: the direction in degrees, positive to the right and upwards.
        focal: the focal length, in widths of the picture.
    """

    eye: Vector
    yaw: float = 0.0
    pitch: float = 0.0
    focal: float = 0.81


class Light(NamedTuple):
    """A lamp, or the sun.

    Attributes:
        position: the position of a lamp, or the direction to a ``distant`` light, of any length.
        colour: linear red, green and blue of its light on a face that is turned to it.
        reach: in metres; at the distance d, the light of a lamp is multiplied by
            reach² / (reach² + d²).
        distant: whether the light is infinitely far away; then it is the same everywhere.
    """

    position: Vector
    colour: Vector
    reach: float = 2.0
    distant: bool = False


@dataclass(frozen=True)
class Scene:
    """A scene to render.

    Attributes:
        ambient: the light without direction, on faces that look (up, down).
        sky: the colours of the sky at the (zenith, horizon), for rays that meet nothing. Their
            depth is infinite.
        sky_label: the class of the sky.
        haze: how fast the colour of the horizon hides distant surfaces, by half at 1/haze metres.
        exposure: the mean brightness at which the camera's automatic exposure aims.
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
    """Compute the axes of a solid that is rolled about z, pitched about x, then turned about y.

    All angles are in degrees. Positive yaw turns the z axis to the right (+x), positive pitch lifts
    the z axis, and positive roll lifts the x axis.

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
    """Turn solids by ``yaw`` degrees about the vertical axis of the origin, then move them."""
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
    """Make a box of this full size; ``rest`` are the other fields of :class:`Solid`."""
    return Solid(BOX, centre, _half(size), colour, **rest)


def ellipsoid(centre: Vector, size: Vector, colour: Vector, **rest) -> Solid:
    """Make an ellipsoid with these three diameters."""
    return Solid(ELLIPSOID, centre, _half(size), colour, **rest)


def cylinder(centre: Vector, size: Vector, colour: Vector, **rest) -> Solid:
    """Make a cylinder; ``size`` is (diameter, height along the local y axis, diameter)."""
    return Solid(CYLINDER, centre, _half(size), colour, **rest)


def brightened(colour: Vector, factor: float) -> Vector:
    """Multiply a colour by ``factor``; red, green and blue stay at 1 or below."""
    return (
        min(1.0, colour[0] * factor),
        min(1.0, colour[1] * factor),
        min(1.0, colour[2] * factor),
    )


def _half(size: Vector) -> Vector:
    return (size[0] * 0.5, size[1] * 0.5, size[2] * 0.5)
