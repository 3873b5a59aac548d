"""Things along a street: trees, hedges, lamps, signals, signs, fences and walls."""

from __future__ import annotations

from .classes import LABEL
from .dice import Dice
from .houses import FACADES
from .solids import Solid, Texture, Vector, box, brightened, cylinder, ellipsoid, rotation

__all__ = [
    "bush",
    "hedge",
    "lamp",
    "planks",
    "railing",
    "sign",
    "signals",
    "tree",
    "wall",
]

LEAVES = (
    *((0.055, 0.13, 0.03), (0.09, 0.18, 0.035), (0.04, 0.10, 0.035), (0.13, 0.19, 0.04)),
    *((0.26, 0.15, 0.03), (0.07, 0.15, 0.06)),
)
CROWN = Texture(cell=(0.34, 0.26), shift=0.43, variety=0.5, hues=0.12, grain=(0.9, 0.9), rough=0.5)
TWIGS = CROWN._replace(cell=(0.18, 0.14), grain=(0.5, 0.5))
BARK = (0.09, 0.065, 0.045)
STEEL = (0.20, 0.21, 0.22)
WHITE, RED, BLUE = (0.8, 0.8, 0.78), (0.55, 0.02, 0.02), (0.02, 0.08, 0.4)
YELLOW, DARK = (0.75, 0.5, 0.02), (0.03, 0.03, 0.03)
FENCES = ((0.25, 0.15, 0.08), (0.5, 0.5, 0.48), (0.08, 0.1, 0.09), (0.3, 0.31, 0.32))
FACING = rotation(pitch=90)  # a cylinder's axis along z: a round sign


def tree(dice: Dice, x: float, z: float, low: float = 2.2) -> list[Solid]:
    """A trunk and a crown of several ellipsoids, which begins ``low`` metres above the ground."""
    common = {"label": LABEL["vegetation"], "seed": dice.seed()}
    colour = _shaded(dice, dice.choice(LEAVES))
    radius = dice.uniform(1.2, 2.2)
    thick = 0.09 * radius + 0.08
    solids = [cylinder((x, low / 2 + 0.5, z), (thick, low + 1.0, thick), BARK, **common)]
    wide, at = 2 * radius, (x, low + radius, z)
    for _ in range(dice.integer(4, 6) if z < 50 else 3):
        size = (wide, wide * 0.9, wide)
        shade = brightened(colour, dice.uniform(0.75, 1.25))
        solids.append(ellipsoid(at, size, shade, texture=CROWN, **common))
        wide = 2 * radius * dice.uniform(0.5, 0.8)
        at = (
            x + dice.uniform(-0.75, 0.75) * radius,
            low + dice.uniform(0.7, 1.9) * radius,
            z + dice.uniform(-0.75, 0.75) * radius,
        )
    return solids


def bush(dice: Dice, x: float, z: float) -> list[Solid]:
    """Two or three low ellipsoids of leaves."""
    colour = _shaded(dice, dice.choice(LEAVES))
    common = {"label": LABEL["vegetation"], "texture": TWIGS, "seed": dice.seed()}
    solids = []
    for _ in range(dice.integer(2, 3)):
        size = dice.uniform(0.8, 1.6)
        at = (x + dice.uniform(-0.5, 0.5), size * 0.35, z + dice.uniform(-0.8, 0.8))
        solids.append(ellipsoid(at, (size, size * 0.9, size * 1.2), colour, **common))
    return solids


def hedge(dice: Dice, x: float, start: float, length: float) -> list[Solid]:
    """A cut hedge along the street."""
    height = dice.uniform(0.9, 1.9)
    return [
        box(
            (x, height / 2, start + length / 2),
            (0.8, height, length),
            _shaded(dice, dice.choice(LEAVES[:4])),
            label=LABEL["vegetation"],
            texture=TWIGS,
            seed=dice.seed(),
        )
    ]


def wall(dice: Dice, x: float, start: float, length: float) -> list[Solid]:
    """A wall of bricks or plaster with a coping."""
    height = dice.uniform(1.0, 2.4)
    colour = dice.choice(FACADES)
    bricks = Texture(cell=(0.5, 0.22), shift=0.5, joint=0.04, second=(0.4, 0.38, 0.35), variety=0.3)
    darker = brightened(colour, 0.5)
    plaster = Texture(cell=(3.0, 0), joint=0.1, second=darker, grain=(1, 1), rough=0.2)
    middle = start + length / 2
    common = {"label": LABEL["wall"], "seed": dice.seed()}
    return [
        box(
            (x, height / 2, middle),
            (0.3, height, length),
            colour,
            texture=dice.choice((bricks, plaster)),
            **common,
        ),
        box((x, height, middle), (0.42, 0.1, length), (0.35, 0.34, 0.32), **common),
    ]


def planks(dice: Dice, x: float, start: float, length: float) -> list[Solid]:
    """A fence of planks that hides what is behind it."""
    colour, height = dice.choice(FENCES), dice.uniform(1.0, 1.9)
    texture = Texture(cell=(0.32, 0), joint=0.07, second=brightened(colour, 0.15), variety=0.35)
    at, size = (x, height / 2 + 0.05, start + length / 2), (0.06, height, length)
    return [box(at, size, colour, label=LABEL["fence"], texture=texture, seed=dice.seed())]


def railing(dice: Dice, x: float, start: float, length: float) -> list[Solid]:
    """A fence of posts and rails that hides little."""
    common = {"label": LABEL["fence"]}
    colour, height, rails = dice.choice(FENCES), dice.uniform(0.9, 1.3), dice.integer(2, 4)
    middle, posts = start + length / 2, max(2, round(length / 1.6))
    solids = []
    for k in range(rails):
        at = (x, height * (k + 1) / rails, middle)
        solids.append(box(at, (0.05, 0.09, length), colour, **common))
    for k in range(posts):
        at = (x, height / 2, start + (k + 0.5) * length / posts)
        solids.append(box(at, (0.08, height, 0.08), colour, **common))
    return solids


def lamp(dice: Dice, side: int, x: float, z: float, lit: bool) -> list[Solid]:
    """A street lamp whose arm reaches over the road."""
    common = {"label": LABEL["pole"]}
    height, arm = dice.uniform(5.0, 7.5), dice.uniform(0.8, 1.8)
    head = (0.9, 0.75, 0.45) if lit else STEEL
    return [
        cylinder((x, height / 2, z), (0.16, height, 0.16), STEEL, **common),
        box((x - side * arm / 2, height, z), (arm, 0.09, 0.09), STEEL, **common),
        box(
            (x - side * arm, height - 0.05, z),
            (0.6, 0.14, 0.28),
            head,
            glow=1.0 if lit else 0.0,
            **common,
        ),
    ]


def signals(dice: Dice, x: float, z: float, high: float = 0.0, arm: float = 0.0) -> list[Solid]:
    """A traffic light on a pole; with ``arm``, a second one hangs over the road at ``high``."""
    state = dice.choice((0, 1, 2))
    solids = [cylinder((x, 1.35, z), (0.13, 2.7, 0.13), STEEL, label=LABEL["pole"])]
    places = [(x, 2.7)]
    if arm:
        solids += [
            cylinder((x, high / 2, z + 0.05), (0.18, high, 0.18), STEEL, label=LABEL["pole"]),
            box((x + arm / 2, high, z), (abs(arm), 0.12, 0.12), STEEL, label=LABEL["pole"]),
        ]
        places.append((x + arm, high - 0.35))
    common = {"label": LABEL["traffic light"]}
    for px, py in places:
        solids.append(box((px, py, z - 0.1), (0.36, 1.0, 0.28), (0.025, 0.03, 0.027), **common))
        for k, colour in enumerate(((0.9, 0.03, 0.02), (0.9, 0.5, 0.02), (0.05, 0.85, 0.35))):
            on = k == state
            shown = colour if on else brightened(colour, 0.08)
            at = (px, py + 0.31 - 0.31 * k, z - 0.24)
            solids.append(
                ellipsoid(at, (0.24, 0.24, 0.1), shown, glow=1.0 if on else 0.0, **common)
            )
    return solids


def sign(dice: Dice, x: float, z: float) -> list[Solid]:
    """A traffic sign facing the camera: a limit, priority, a warning, a blue sign or directions."""
    common = {"label": LABEL["traffic sign"]}
    height = dice.uniform(2.1, 2.8)
    kind = dice.choice(("limit", "priority", "round", "square", "no entry", "directions"))
    pole = cylinder((x, height / 2, z), (0.09, height, 0.09), STEEL, label=LABEL["pole"])

    def disc(diameter: float, out: float, colour: Vector) -> Solid:
        size = (diameter, 0.03, diameter)
        return cylinder((x, height, z - out), size, colour, axes=FACING, **common)

    def plate(width: float, tall: float, out: float, colour: Vector, roll: float = 0.0) -> Solid:
        at = (x, height, z - out)
        return box(at, (width, tall, 0.03), colour, axes=rotation(roll=roll), **common)

    plates = {
        "limit": lambda: [
            disc(0.75, 0.08, RED),
            disc(0.55, 0.1, WHITE),
            plate(0.3, 0.22, 0.11, DARK),
        ],
        "priority": lambda: [
            plate(0.62, 0.62, 0.08, WHITE, 45),
            plate(0.48, 0.48, 0.1, YELLOW, 45),
        ],
        "round": lambda: [disc(0.75, 0.08, BLUE), plate(0.12, 0.4, 0.1, WHITE)],
        "square": lambda: [plate(0.7, 0.7, 0.08, BLUE), plate(0.3, 0.4, 0.1, WHITE)],
        "no entry": lambda: [disc(0.8, 0.08, RED), plate(0.55, 0.16, 0.1, WHITE)],
        "directions": lambda: [
            plate(1.8, 0.9, 0.08, dice.choice((BLUE, YELLOW, WHITE))),
            plate(1.2, 0.12, 0.1, DARK),
        ],
    }
    return [pole, *plates[kind]()]


def _shaded(dice: Dice, colour: Vector) -> Vector:
    return brightened(colour, dice.uniform(0.7, 1.3))
