"""What a scene is made of: turns, places, random choices, people."""

import math

import pytest
import torch
from scenery import dice

from tssbn.data.synthetic.scenes.dice import DRAWS
from tssbn.data.synthetic.scenes.interior import group, size
from tssbn.data.synthetic.scenes.labels import HUMAN_PARTS, PARTS
from tssbn.data.synthetic.scenes.people import POSES, SEAT, person
from tssbn.data.synthetic.scenes.solids import box, place, rotation


@pytest.mark.parametrize("degrees", [0, 17.3, 45, 89.999, 90, -135, 300, 720.5])
def test_rotations_are_those_of_the_textbook(degrees):
    radians = math.radians(degrees)
    c, s = math.cos(radians), math.sin(radians)
    close = pytest.approx
    assert rotation(yaw=degrees)[2] == (close(s, abs=1e-10), 0, close(c, abs=1e-10))
    assert rotation(pitch=degrees)[2] == (0, close(s, abs=1e-10), close(c, abs=1e-10))
    assert rotation(roll=degrees)[0] == (close(c, abs=1e-10), close(s, abs=1e-10), 0)
    axes = torch.tensor(rotation(degrees, 20, -50), dtype=torch.float64)
    torch.testing.assert_close(axes @ axes.T, torch.eye(3).double(), atol=1e-15, rtol=0)


def test_quarter_turns_are_exact():
    assert rotation(yaw=90)[2] == (1, 0, 0) and rotation(yaw=180)[2] == (0, 0, -1)


def test_placing_turns_about_the_origin_then_moves():
    part = box((0.0, 1.0, 2.0), (1.0, 1.0, 1.0), (1, 1, 1), axes=rotation(pitch=30))
    (moved,) = place([part], (10.0, 0.5, 0.0), yaw=90)
    assert moved.centre == (12, 1.5, 0)
    torch.testing.assert_close(torch.tensor(moved.axes), torch.tensor(rotation(90, 30)))
    twice = place(place([part], (1, 2, 3), 25), (4, 5, 6), 40)[0]
    once = place([part], place([box((1, 2, 3), (1, 1, 1), (1, 1, 1))], (4, 5, 6), 40)[0].centre, 65)
    torch.testing.assert_close(torch.tensor(twice.centre), torch.tensor(once[0].centre))
    torch.testing.assert_close(torch.tensor(twice.axes), torch.tensor(once[0].axes))


def test_groups_keep_different_things_apart():
    a = [box((0, 0, 0), (1, 1, 1), (1, 1, 1), instance=k) for k in (0, 1)]
    assert [solid.instance for solid in group(a, a[:1], a)] == [0, 1, 2, 3, 4]


def test_size_is_where_a_piece_ends():
    piece = [box((0.5, 1, 1), (1, 2, 0.5), (1, 1, 1)), box((0, 0, 0), (1, 1, 4), (1, 1, 1))]
    assert size(piece) == (2, 2, 2)
    assert size(place(piece[1:], (0, 0, 0), 90)) == (4, 0.5, 0.5)


def test_dice_stay_in_their_ranges_and_repeat():
    rolls = [dice(3).uniform(2, 5) for _ in range(2)]
    assert rolls[0] == rolls[1] and 2 <= rolls[0] < 5
    d = dice()
    assert {d.integer(1, 3) for _ in range(60)} == {1, 2, 3}
    assert sorted(d.shuffled("abcd")) == list("abcd")
    assert not any(d.chance(0.0) for _ in range(20)) and all(d.chance(1.0) for _ in range(20))
    assert abs(sum(d.chance(0.3) for _ in range(1000)) - 300) < 60


def test_a_scene_that_takes_too_many_numbers_is_no_scene():
    d = dice()
    for _ in range(DRAWS):
        d.uniform()
    with pytest.raises(RuntimeError, match="a scene takes more than DRAWS = 2048 random numbers"):
        d.chance(0.5)


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("height", [1.2, 1.85])
def test_people_stand_on_the_ground_and_are_as_tall_as_asked(pose, height):
    body = person(dice(1), 5, 7, pose, height)
    assert {PARTS[solid.part] for solid in body} == set(HUMAN_PARTS[1:])
    assert {(solid.label, solid.instance) for solid in body} == {(5, 7)}
    wide, high, _ = size(body)
    lowest = min(
        solid.centre[1]
        - sum(abs(axis[1]) * h for axis, h in zip(solid.axes, solid.half, strict=True))
        for solid in body
    )
    scale = height / 1.7
    expected = (0.9 if pose != "sitting" else SEAT + 0.1) + 0.8
    assert high / scale == pytest.approx(expected, abs=0.06)
    assert lowest / scale == pytest.approx(0, abs=0.09)
    assert 0.4 < wide / scale < 1.2


def test_an_unknown_pose_is_refused():
    with pytest.raises(ValueError, match=r"pose must be one of .*, got 'lying'"):
        person(dice(), pose="lying")
