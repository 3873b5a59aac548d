"""The light of a street: sun, sky with clouds, and haze."""

from __future__ import annotations

from dataclasses import dataclass

from .classes import LABEL
from .dice import Dice
from .labels import PARTS
from .solids import Camera, Light, Scene, Solid, Texture, Vector, ellipsoid

__all__ = ["WEATHERS", "Weather", "clouds", "lit"]

SHADELESS = tuple(
    PARTS.index(name) for name in ("upper arm", "lower arm", "window", "wheel", "light", "plate")
)


@dataclass(frozen=True)
class Weather:
    """The light of a street.

    ``elevation`` is the range of the tangent of the sun's angle above the ground, and ``haze`` that
    of the haze of a :class:`Scene`. ``lamps`` tells whether the street lamps are lit.
    """

    sun: Vector
    elevation: tuple[float, float]
    ambient: tuple[Vector, Vector]
    zenith: Vector
    horizon: Vector
    haze: tuple[float, float]
    lamps: bool = False


WEATHERS = (
    Weather(
        sun=(2.2, 2.05, 1.75),
        elevation=(0.7, 2.0),
        ambient=((0.5, 0.6, 0.82), (0.25, 0.25, 0.25)),
        zenith=(0.2, 0.5, 1.3),
        horizon=(0.95, 1.1, 1.35),
        haze=(0.0005, 0.002),
    ),
    Weather(
        sun=(2.4, 1.75, 1.1),
        elevation=(0.3, 0.6),
        ambient=((0.46, 0.52, 0.7), (0.24, 0.21, 0.19)),
        zenith=(0.3, 0.55, 1.15),
        horizon=(1.4, 1.2, 0.9),
        haze=(0.001, 0.003),
    ),
    Weather(
        sun=(0.2, 0.2, 0.2),
        elevation=(1.0, 2.0),
        ambient=((1.0, 1.05, 1.12), (0.42, 0.42, 0.42)),
        zenith=(1.0, 1.06, 1.15),
        horizon=(1.35, 1.38, 1.42),
        haze=(0.001, 0.004),
    ),
    Weather(
        sun=(0.7, 0.4, 0.27),
        elevation=(0.2, 0.4),
        ambient=((0.34, 0.4, 0.62), (0.17, 0.16, 0.18)),
        zenith=(0.16, 0.24, 0.55),
        horizon=(1.0, 0.62, 0.42),
        haze=(0.001, 0.003),
        lamps=True,
    ),
)


def clouds(dice: Dice, weather: Weather) -> list[Solid]:
    """White heaps far away as clouds; their class is sky."""
    solids = []
    white = tuple(1.05 * c + 0.1 for c in weather.horizon)
    common = {"label": LABEL["sky"], "glow": 1.0, "casts": False}
    for _ in range(dice.integer(0, 5)):
        x, y, z = dice.uniform(-130, 130), dice.uniform(22, 85), dice.uniform(430, 560)
        wide = dice.uniform(25, 70)
        for k in range(dice.integer(2, 4)):
            size = wide * dice.uniform(0.5, 1.0)
            at = (x + dice.uniform(-0.6, 0.6) * wide, y + (k > 0) * dice.uniform(0, 6), z)
            puff = Texture(grain=(size * 0.3, size * 0.12), rough=0.08)
            flat = (size, size * dice.uniform(0.16, 0.26), size)
            common["seed"] = dice.seed()
            solids.append(ellipsoid(at, flat, white, texture=puff, **common))
    return solids


def lit(dice: Dice, weather: Weather, camera: Camera, solids: list[Solid]) -> Scene:
    """Make the scene with the lights of this weather."""
    side = dice.choice((-1, 1))
    toward = (
        side * dice.uniform(0.3, 1.0), dice.uniform(*weather.elevation), dice.uniform(-1.0, 0.6)
    )  # fmt: skip
    return Scene(
        camera,
        [solid._replace(casts=_shades(solid)) for solid in solids],
        [Light(toward, weather.sun, distant=True)],
        weather.ambient,
        sky=(weather.zenith, weather.horizon),
        sky_label=LABEL["sky"],
        haze=dice.uniform(*weather.haze),
        exposure=dice.uniform(0.44, 0.54),
    )


def _shades(solid: Solid) -> bool:
    """Whether it throws a shadow: glass lets the light through, and what is small or far away is
    not worth the time."""
    if not solid.casts or solid.part in SHADELESS:
        return False
    _, middle, large = sorted(solid.half)
    least = 0.005 if solid.label in (LABEL["person"], LABEL["rider"]) else 0.04
    return solid.centre[2] < (25 if middle * large < 0.1 else 60) and middle * large > least
