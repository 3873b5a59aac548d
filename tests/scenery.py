"""Scenes for the tests of synthetic rooms and streets."""

import torch

from tssbn.data.synthetic.scenes.dice import Dice
from tssbn.data.synthetic.scenes.layout import furnished
from tssbn.data.synthetic.scenes.solids import Camera, Light, Scene
from tssbn.data.synthetic.scenes.view import look


def dice(seed=0):
    return Dice(torch.Generator().manual_seed(seed))


def furnished_rooms(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [furnished(Dice(generator), people=0.5) for _ in range(n)]


def seen(scenes, height=48, width=64):
    """What the camera of each scene sees."""
    noise = torch.rand(len(scenes), 7, height, width, generator=torch.Generator().manual_seed(0))
    return look(scenes, height, width, noise)


def facing(solids, **rest):
    """A scene that looks along +z from the origin, lit from the eye."""
    lamp = Light((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Scene(Camera((0.0, 0.0, 0.0)), solids, [lamp], **rest)
