"""Textures and light: what pictures show."""

from dataclasses import replace

import pytest
import torch
from scenery import facing, seen

from tssbn.data.synthetic.scenes.solids import Camera, Light, Texture, box


def middle(scene):
    return seen([scene]).image[0, :, 24, 32].tolist()


def test_light_makes_brighter_and_colours_what_it_falls_on():
    wall = box((0.0, 0.0, 3.0), (9.0, 9.0, 0.2), (0.5, 0.5, 0.5))
    dark = box((0.0, 0.0, 2.0), (1.0, 1.0, 0.2), (0.1, 0.3, 0.1))
    red, green, blue = middle(facing([wall, dark]))
    assert green > red + 20 and abs(red - blue) < 20
    lamp = Light((0.0, 1.0, 0.0), (1.0, 0.2, 0.2))
    red, green, _ = middle(replace(facing([wall]), lights=[lamp], ambient=((0, 0, 0), (0, 0, 0))))
    assert red > green + 40


def test_what_glows_does_not_need_light():
    night = {"lights": [Light((0, 0, 0), (0, 0, 0))], "ambient": ((0.01,) * 3, (0.01,) * 3)}
    wall = box((0.0, 0.0, 3.0), (9.0, 9.0, 0.2), (0.5, 0.5, 0.5))
    screen = box((0.0, 0.0, 2.9), (1.0, 1.0, 0.2), (0.5, 0.5, 0.5))
    unlit = replace(facing([wall, screen]), **night)
    lit = replace(facing([wall, screen._replace(glow=1.0)]), **night)
    assert middle(lit)[0] > middle(unlit)[0] + 50


def test_checks_have_the_size_that_they_are_given():
    pattern = Texture(cell=(1.0, 1.0), second=(0.02, 0.02, 0.02), checks=True)
    wall = box((0.0, 0.0, 4.05), (20.0, 20.0, 0.1), (0.9, 0.9, 0.9), texture=pattern)
    bright = seen([facing([wall])]).image[0, 0, 24] > 100  # at 4 m, 13 pixels are a metre
    changes = (bright[1:] != bright[:-1]).nonzero().flatten() + 1
    focal = 0.81 * 64
    expected = [32 + focal / 4 * k for k in (-1.5, -0.5, 0.5, 1.5)]
    assert changes.tolist() == pytest.approx(expected, abs=1)
    assert bright[32]


def painted(**pattern):
    """What a wall 4 m away shows along the middle row, 13 pixels to the metre."""
    wall = box((0.0, 0.0, 4.05), (20.0, 20.0, 0.1), (0.5, 0.5, 0.5), texture=Texture(**pattern))
    return seen([facing([wall])]).image[0].float()


def test_cells_differ_in_brightness_or_in_colour():
    plain = painted()
    shades, hues = painted(cell=(1.0, 0.0), variety=0.9), painted(cell=(1.0, 0.0), hues=0.9)
    inside = slice(28, 37)  # of the middle cell
    for image in (shades, hues):
        assert image[:, 24, inside].std(1).max() < 8 < image[:, 24].std(1).max() / 2

    def tint(image):
        return (image[0] - image[2]).abs().mean()

    assert tint(hues) > 4 * tint(plain) and tint(shades) < 2 * tint(plain)


def test_joints_are_as_wide_and_rows_as_shifted_as_asked():
    wall = {"cell": (1.0, 1.0), "joint": 0.25, "second": (0.0, 0.0, 0.0)}
    dark = painted(**wall)[0] < 60
    assert dark[24].float().mean() == pytest.approx(0.25, abs=0.07)
    below = (painted(**wall, shift=0.5)[0] < 60)[24 + 13]  # the next row of cells
    assert below[32] and not dark[24, 32]
    assert painted(grain=(0.5, 0.5), rough=0.8)[0].std() > 3 * painted()[0].std()


def test_a_lamp_falls_off_and_the_sun_does_not():
    wall = box((0.0, 0.0, 3.0), (20.0, 20.0, 0.2), (0.5, 0.5, 0.5))
    scene = facing([wall], ambient=((0.0,) * 3, (0.0,) * 3))

    def under(light):
        return seen([replace(scene, lights=[light])]).image[0].float()

    sun = [Light((1.0, 2.0, -3.0), (1.0,) * 3, reach, distant=True) for reach in (0.5, 9.0)]
    assert torch.equal(under(sun[0]), under(sun[1]))
    lamp = [Light((-1.5, 0.0, 2.0), (1.0,) * 3, reach) for reach in (0.5, 9.0)]
    short, long = (under(light)[0, 24] for light in lamp)
    assert short[12] - short[52] > long[12] - long[52] + 20


def test_the_sky_is_above_the_horizon_and_infinitely_far():
    behind = box((0.0, 0.0, -3.0), (1.0, 1.0, 1.0), (1, 1, 1))
    up = Camera((0.0, 0.0, 0.0), pitch=30)
    view = seen([replace(facing([behind], sky_label=7), camera=up)])
    assert view.depth.isinf().all() and (view.label == 7).all()
    assert (view.normal == 0).all()
    assert view.image[0, 2, 0].float().mean() - view.image[0, 0, 0].float().mean() > 20  # blue
