"""Made rooms: the geometry is exact, and every knob turns what it says."""

import hashlib
import math
import random
from dataclasses import replace

import pytest
import torch

from tssbn.data.synthetic.scenes import Rooms, caster, rooms
from tssbn.data.synthetic.scenes import make as making
from tssbn.data.synthetic.scenes.caster import cast, pack, rays, shadow, surface, untile
from tssbn.data.synthetic.scenes.dice import DRAWS, Dice
from tssbn.data.synthetic.scenes.interior import CLASSES, group, size
from tssbn.data.synthetic.scenes.labels import (
    CITYSCAPES_PARTS,
    HUMAN_PARTS,
    PARTS,
    disturb,
    hidden,
    to_cityscapes,
    to_human,
)
from tssbn.data.synthetic.scenes.layout import furnished
from tssbn.data.synthetic.scenes.people import POSES, SEAT, person
from tssbn.data.synthetic.scenes.rooms import GROUPS, TARGETS, encode, intrinsics, layout
from tssbn.data.synthetic.scenes.solids import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    Camera,
    Light,
    Scene,
    Texture,
    box,
    cylinder,
    ellipsoid,
    place,
    rotation,
)
from tssbn.data.synthetic.scenes.view import look
from tssbn.data.target import Target

TASKS = tuple(TARGETS)
SMALL = Rooms(height=48, width=64)


@pytest.fixture(scope="module")
def many():
    """200 small rooms with all tasks."""
    torch.set_num_threads(1)
    return rooms(n=200, recipe=SMALL, tasks=TASKS)


def dice(seed=0):
    return Dice(torch.Generator().manual_seed(seed))


def scenes(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [furnished(Dice(generator), people=0.5) for _ in range(n)]


def seen(scenes, height=48, width=64, **knobs):
    noise = torch.rand(len(scenes), 7, height, width, generator=torch.Generator().manual_seed(0))
    return look(scenes, height, width, noise, **knobs)


def facing(solids, **rest):
    """A scene that looks along +z from the origin, lit from the eye."""
    lamp = Light((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Scene(Camera((0.0, 0.0, 0.0)), solids, [lamp], **rest)


# ------------------------------------------------------------------------------------ plain numbers


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
    longest = max(len(scene.solids) for scene in scenes(40))
    assert 2 * longest < DRAWS / 2  # what the look-alikes take


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


# ----------------------------------------------------------------------------------- what rays meet


def slow_hit(solid, origin, direction):
    """Depth at which a ray enters a solid, in Python's double precision, in world coordinates,
    face by face; infinite for a miss."""

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    o = [dot(axis, origin) - dot(axis, solid.centre) for axis in solid.axes]
    d = [dot(axis, direction) for axis in solid.axes]
    h = solid.half

    def at(t):
        """In half sizes."""
        return [(a + t * b) / c for a, b, c in zip(o, d, h, strict=True)]

    def quadric(*scale):
        a = dot(scale, [v * v for v in d])
        b = dot(scale, [u * v for u, v in zip(o, d, strict=True)])
        square = b * b - a * (dot(scale, [u * u for u in o]) - 1)
        return [(sign * math.sqrt(square) - b) / a for sign in (-1, 1)] if square > 0 else []

    hits = []
    if solid.shape == ELLIPSOID:
        hits = quadric(*(1 / x**2 for x in h))
    if solid.shape == CYLINDER:
        hits = [t for t in quadric(1 / h[0] ** 2, 0, 1 / h[2] ** 2) if abs(at(t)[1]) <= 1]
        for t in (sign * h[1] / d[1] - o[1] / d[1] for sign in (-1, 1) if d[1]):
            x, _, z = at(t)
            hits += [t] if x * x + z * z <= 1 else []
    if solid.shape == BOX:
        for k in range(3):
            for t in (sign * h[k] / d[k] - o[k] / d[k] for sign in (-1, 1) if d[k]):
                hits += [t] if all(abs(at(t)[i]) <= 1 for i in range(3) if i != k) else []
    return min((t for t in hits if t > 0.05), default=math.inf)


def test_depth_and_label_are_those_of_a_slow_caster():
    chosen, checked = random.Random(0), 0
    for scene in scenes(4, seed=5):
        view = seen([scene])
        right, up, forward = rotation(scene.camera.yaw, scene.camera.pitch)
        focal = scene.camera.focal * 64
        for _ in range(60):
            i, j = chosen.randrange(48), chosen.randrange(64)
            x, y = (j + 0.5 - 32) / focal, (i + 0.5 - 24) / focal
            ray = [x * r - y * u + f for r, u, f in zip(right, up, forward, strict=True)]
            depths = [slow_hit(solid, scene.camera.eye, ray) for solid in scene.solids]
            first = min(range(len(depths)), key=depths.__getitem__)
            assert view.depth[0, i, j].item() == pytest.approx(depths[first], rel=2e-5)
            rest = min(d for k, d in enumerate(depths) if k != first)
            if rest > depths[first] * 1.0001:
                solid = scene.solids[first]
                found = tuple(int(m[0, i, j]) for m in (view.label, view.part, view.instance))
                assert found == (solid.label, solid.part, solid.instance)
                checked += 1
    assert checked > 200


@pytest.mark.parametrize("make", [box, ellipsoid, cylinder])
def test_small_things_far_away_keep_their_shape(make):
    """30 cm wide and 40 m away, through a telephoto lens: to 50 μm, ten times the rounding of the
    depth itself."""
    solid = make((0.3, -0.2, 40.0), (0.3, 0.3, 0.3), (1, 1, 1), axes=rotation(30, 20, 10))
    view = seen([replace(facing([solid]), camera=Camera((0.0, 0.0, 0.0), focal=60.0))])
    rows, columns = view.depth[0].isfinite().nonzero(as_tuple=True)
    assert len(rows) > 250
    for i, j in list(zip(rows.tolist(), columns.tolist(), strict=True))[::7]:
        ray = ((j - 31.5) / 3840, (23.5 - i) / 3840, 1.0)
        expected = slow_hit(solid, (0.0, 0.0, 0.0), ray)
        assert view.depth[0, i, j].item() == pytest.approx(expected, abs=5e-5)


def test_what_is_not_tried_would_not_have_been_hit(monkeypatch):
    """Every tile and every shadow tries a few solids only; trying all changes no bit."""
    some = scenes(4, seed=3)
    quick = seen(some)
    tried = []

    for name in ("_in_tiles", "_in_the_way"):
        real = getattr(caster, name)

        def all_that_cast(solids, view, *rest, real=real):
            chosen = real(solids, view, *rest)
            every = (solids.shape >= 0)[view.scene]
            if rest:  # a light
                casts = solids.table[caster.COLUMNS.index("casts")].view_as(solids.shape) > 0
                every = every & casts[view.scene]
            tried.append(chosen.sum() / every.sum())
            return every

        monkeypatch.setattr(caster, name, all_that_cast)
    slow = seen(some)
    for field in ("image", "depth", "normal", "label", "part", "instance"):
        assert torch.equal(getattr(quick, field), getattr(slow, field)), field
    assert max(tried) < 0.5


def test_an_edge_belongs_to_one_of_its_faces():
    cube = box((0.0, 0.0, 3.0), (1.0, 1.0, 1.0), (1, 1, 1), axes=rotation(yaw=45))
    packed, step = pack([facing([cube])]), torch.arange(-8.0, 8.0)[None] * 0.01
    view = rays(step, step, (16, 16))
    hits = surface(packed, view, *cast(packed, view))
    facing_at = torch.stack([untile(f, view.grid)[0, 8, 8] for f in hits.facing])
    assert facing_at.abs().tolist() == pytest.approx([1, 0, 0])


def test_what_contains_or_lies_behind_the_eye_is_not_seen():
    around = ellipsoid((0.0, 0.0, 0.0), (2.0, 2.0, 2.0), (1, 1, 1))
    behind = box((0.0, 0.0, -3.0), (9.0, 9.0, 1.0), (1, 1, 1))
    assert seen([facing([around, behind])]).depth.isinf().all()


def test_of_two_solids_at_the_same_depth_the_first_is_seen():
    pair = [box((0.0, 0.0, 3.0), (1.0, 1.0, 1.0), (1, 1, 1), label=k) for k in (4, 9)]
    assert seen([facing(pair)]).label.unique().tolist() == [-1, 4]


def test_scenes_of_a_batch_do_not_mix():
    both = scenes(3, seed=8)
    together, alone = seen(both), seen(both[2:])
    for field in ("depth", "normal", "label", "part", "instance"):
        assert torch.equal(getattr(together, field)[2:], getattr(alone, field)), field


def test_normals_agree_with_the_depth():
    """Where the surface is smooth: the normal of the plane through the four neighbours."""
    data = rooms(n=12, recipe=Rooms(), tasks=("depth", "normal"))
    depth, normal = data[:]["depth"], data[:]["normal"]
    i, j = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(128) + 0.5, indexing="ij")
    pixels = torch.stack([j, i, torch.ones_like(i)])
    point = (torch.linalg.inv(intrinsics(96, 128)) @ pixels.flatten(1)).view(3, 96, 128) * depth

    right, left = point[:, :, 1:-1, 2:], point[:, :, 1:-1, :-2]
    below, above = point[:, :, 2:, 1:-1], point[:, :, :-2, 1:-1]
    crossed = torch.linalg.cross(below - above, right - left, dim=1)
    crossed = crossed / crossed.norm(dim=1, keepdim=True)
    middle = normal[:, :, 1:-1, 1:-1]
    smooth = torch.ones_like(middle[:, 0], dtype=torch.bool)
    for di, dj in ((1, 0), (1, 2), (0, 1), (2, 1)):
        other = normal[:, :, di : di + 94, dj : dj + 126]
        smooth &= (other * middle).sum(1) > math.cos(math.radians(10))
        smooth &= depth[:, 0, di : di + 94, dj : dj + 126] > 0
        ahead = point[:, :, di : di + 94, dj : dj + 126] - point[:, :, 1:-1, 1:-1]
        smooth &= (ahead * middle).sum(1).abs() < 0.004  # not across a step
    angle = torch.rad2deg(torch.atan2(
        torch.linalg.cross(crossed, middle, dim=1).norm(dim=1), (crossed * middle).sum(1)
    ))[smooth]  # fmt: skip
    print(f"normals against depth: median {angle.median():.4f}, 95 % {angle.quantile(0.95):.3f}")
    assert smooth.float().mean() > 0.6
    assert angle.median() < 0.1
    assert angle.quantile(0.95) < 2


@pytest.mark.parametrize("relief", [0.0, 1.0])
def test_normals_look_at_the_camera(relief):
    height, width = 48, 64
    i, j = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([j, i, torch.ones_like(i)]).flatten(1)
    ray = (torch.linalg.inv(intrinsics(height, width)) @ pixels).view(3, height, width)
    normal = rooms(n=20, recipe=replace(SMALL, relief=relief))[:]["normal"]
    assert (normal.norm(dim=1) - 1).abs().max() < 1e-3
    assert ((normal * ray).sum(1) < 1e-3).all()


def test_a_mirrored_scene_gives_mirrored_labels():
    """Bit for bit: depth and classes flipped, normals flipped and x negated."""
    for scene in scenes(3, seed=2):
        (ex, ey, ez), camera = scene.camera.eye, scene.camera

        def flip(v):
            return (-v[0], v[1], v[2])

        other = replace(
            scene,
            camera=camera._replace(eye=(-ex, ey, ez), yaw=-camera.yaw),
            solids=[
                s._replace(centre=flip(s.centre), axes=tuple(map(flip, s.axes)))
                for s in scene.solids
            ],
        )
        a, b = seen([scene]), seen([other])
        for field in ("depth", "label", "part", "instance"):
            assert torch.equal(getattr(a, field), getattr(b, field).flip(-1)), field
        turned = b.normal.flip(-1) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
        assert torch.equal(a.normal, turned)


def shade(solids, light):
    """The thickness of matter before a light, seen straight ahead."""
    scene = facing([box((0.0, 0.0, 5.0), (20.0, 20.0, 2.0), (1, 1, 1)), *solids])
    packed = pack([scene])
    step = torch.arange(-7.5, 8.5) * 0.002
    view = rays(step[None], step[None], (16, 16))
    hits = surface(packed, view, *cast(packed, view))
    return untile(shadow(packed, view, hits, torch.tensor(light)[:, None]), view.grid)[0, 8, 8]


@pytest.mark.parametrize("shape", [box, ellipsoid, cylinder])
def test_a_shadow_is_as_deep_as_the_matter_in_the_way(shape):
    """The wall stands at z = 4; a light at (2, 0, 2) is seen from its middle along (1, 0, -1)."""
    solid = shape((1.0, 0.0, 3.0), (0.2, 0.2, 0.2), (1, 1, 1), axes=rotation(yaw=45))
    lamp = [2.0, 0.0, 2.0, 1.0]
    assert shade([solid], lamp).item() == pytest.approx(0.2, abs=2e-3)
    assert shade([solid], [30.0, 0.0, -30.0, 0.0]).item() == pytest.approx(0.2, abs=2e-3)  # a sun
    assert shade([solid._replace(casts=False)], lamp) == 0
    assert shade([solid._replace(centre=(1.0, 0.5, 3.0))], lamp) == 0  # beside the way
    assert shade([solid._replace(centre=(3.0, 0.0, 1.0))], lamp) == 0  # behind the light
    assert shade([], lamp) == 0  # the wall does not shade itself


# ----------------------------------------------------------------------------------------- pictures


def middle(scene, **knobs):
    return seen([scene], **knobs).image[0, :, 24, 32].tolist()


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
    assert (view.normal == 0).all() and (seen([facing([behind])], relief=1.0).normal == 0).all()
    assert view.image[0, 2, 0].float().mean() - view.image[0, 0, 0].float().mean() > 20  # blue


# ------------------------------------------------------------------------------------------- labels


def test_boundaries_are_label_changes(many):
    """Pixel by pixel, from the definition."""
    view = seen(scenes(2, seed=4))
    edge = encode(view, SMALL)["boundary"]
    both, found = torch.stack([view.label, view.instance], -1).tolist(), edge.tolist()
    for b in range(2):
        for i in range(48):
            for j in range(64):
                here = both[b][i][j]
                changes = (j < 63 and both[b][i][j + 1] != here) or (
                    i < 47 and both[b][i + 1][j] != here
                )
                assert found[b][i][j] == changes, (b, i, j)
    # And in the data set: known classes that differ have a boundary between them.
    classes, edge = many[:]["segmentation"], many[:]["boundary"]
    for here, there, found in (
        (classes[:, :, :-1], classes[:, :, 1:], edge[:, :, :-1]),
        (classes[:, :-1], classes[:, 1:], edge[:, :-1]),
    ):
        change = (here != there) & (here >= 0) & (there >= 0)
        assert change.any() and (found[change] == 1).all()
    assert 0.03 < edge.float().mean() < 0.2


def test_every_class_and_every_part_occurs(many):
    batch = many[:]
    assert batch["segmentation"].unique().tolist() == list(range(-1, 13))
    assert batch["parts"].unique().tolist() == list(range(7))
    share = {
        name: (batch["segmentation"] == k).float().mean().item() for k, name in enumerate(CLASSES)
    }
    assert max(share.values()) < 0.5, share
    void = (batch["segmentation"] == -1).float().mean()
    assert 0.03 < void < 0.2
    somebody = (batch["parts"] > 0).flatten(1).any(1)
    assert 0.2 < somebody.float().mean() < 0.45
    assert (batch["segmentation"][batch["parts"] > 0] == -1).all()  # people are none of the 13


def test_values_have_the_units_of_the_targets(many):
    sample, batch = many[3], many[:]
    assert sample["image"].dtype == torch.float32 and sample["image"].shape == (3, 48, 64)
    assert 0.1 < batch["image"].mean() < 0.8 and batch["image"].std() > 0.1
    assert torch.equal(batch["image"], (batch["image"] * 255).round() / 255)
    depth = batch["depth"]
    known = depth[depth > 0]
    assert depth.dtype == torch.float32 and known.min() > 0.05 and known.max() < 8
    assert 1.5 < known.median() < 4
    assert 0.02 < (depth == 0).float().mean() < 0.2
    for task in ("segmentation", "parts", "saliency", "boundary"):
        assert batch[task].dtype == torch.int64
        assert batch[task].max() == len(many.targets[task].classes) - 1


def test_saliency_is_people_or_else_the_most_prominent_object():
    view = seen(scenes(12, seed=6))
    found = encode(view, SMALL)["saliency"]
    names = {name: k for k, name in enumerate(CLASSES)}
    structure = {names[k] for k in ("ceiling", "floor", "wall", "window")}
    weight = torch.ones(48, 64)
    weight[12:36, 16:48] = 3
    crowded = 0
    for b in range(12):
        people = view.part[b].ge(1) & view.part[b].le(6)
        if people.any():
            crowded += 1
            assert torch.equal(found[b] == 1, people)
            continue
        votes = {}
        for k in view.instance[b].unique().tolist():
            mask = view.instance[b] == k
            for label in view.label[b][mask].unique().tolist():
                if k and label not in structure:
                    area = mask & (view.label[b] == label)
                    votes[k] = votes.get(k, 0) + weight[area].sum().item()
        best = max(votes, key=lambda k: (votes[k], -k))
        assert (view.instance[b][found[b] == 1] == best).all() and found[b].any()
    assert 0 < crowded < 12


def test_parts_are_looked_up_by_name():
    every = torch.arange(len(PARTS))
    human = [HUMAN_PARTS[k] for k in to_human(every).tolist()]
    assert human == ["background", *PARTS[1:7], *["background"] * 5]
    city = [CITYSCAPES_PARTS[k] for k in to_cityscapes(every).tolist()]
    assert city[:3] == ["background", "head", "torso"]
    assert city[3:7] == ["arms", "arms", "legs", "legs"] and city[7:] == list(PARTS[7:])


def test_hidden_is_what_a_nearer_point_moves_over():
    shift = torch.ones(1, 48)
    shift[0, 10:13] = 3.5  # two and a half pixels more
    assert hidden(shift)[0].nonzero().flatten().tolist() == [8, 9]
    assert not hidden(torch.ones(4, 48)).any()


@pytest.mark.parametrize("amount", [0.1, 0.5])
def test_wrong_labels_are_as_many_as_asked(amount):
    numbers = torch.rand(40, 4, 8, 8)
    classes = torch.randint(-1, 13, (40, 32, 48), dtype=torch.int8)
    wrong = disturb(classes, Target("classes", CLASSES, -1), amount, numbers)
    assert torch.equal(wrong == -1, classes == -1) and wrong.dtype == torch.int8
    assert wrong.max() == 12
    assert (wrong != classes)[classes >= 0].float().mean() == pytest.approx(amount, abs=0.03)

    depth = torch.rand(40, 1, 32, 48) + 1
    depth[:, :, :4] = 0
    wrong = disturb(depth, Target("depth", ignore=0), amount, numbers)
    ratio = (wrong / depth)[:, :, 4:]
    assert (wrong[:, :, :4] == 0).all()
    assert ratio.min() > 1 - amount - 1e-6 and ratio.max() < 1 + amount + 1e-6
    assert ratio.mean() == pytest.approx(1, abs=0.02) and ratio.std() > amount / 3

    normal = torch.zeros(40, 3, 32, 48, dtype=torch.float16)
    normal[:, 2, 4:] = -1
    wrong = disturb(normal, Target("normal", ignore=0), amount, numbers).float()
    assert (wrong[:, :, :4] == 0).all()
    assert (wrong[:, :, 4:].norm(dim=1) - 1).abs().max() < 1e-3
    tilt = (wrong[:, :2].norm(dim=1) / wrong[:, 2].abs())[:, 4:]
    assert amount / 2 < tilt.mean() < amount * 1.5


# --------------------------------------------------------------------------------------- data set


def digest(data):
    sha = hashlib.sha256()
    for name in sorted(data.tensors):
        sha.update(data.tensors[name].contiguous().numpy().tobytes())
    return sha.hexdigest()


def test_a_cache_hit_equals_what_was_made(monkeypatch, tmp_path):
    monkeypatch.setenv("TSSBN_CACHE", str(tmp_path))
    made = digest(rooms(n=3, recipe=SMALL, tasks=TASKS))
    monkeypatch.setattr(making, "look", None)  # nothing can be rendered any more
    assert digest(rooms(n=3, recipe=SMALL, tasks=TASKS)) == made
    assert rooms(n=3, recipe=SMALL, tasks=("parts",)).targets == {"parts": TARGETS["parts"]}
    with pytest.raises(TypeError):
        rooms(n=3, recipe=replace(SMALL, contrast=0.5), tasks=TASKS)


def test_a_smaller_set_is_the_beginning_of_a_larger_one(many):
    few = rooms(n=21, recipe=SMALL, tasks=TASKS)
    for name, value in few.tensors.items():
        assert torch.equal(value, many.tensors[name][:21]), name


def test_splits_and_seeds_differ(many):
    first = {digest(rooms(split, n=1, seed=seed, recipe=SMALL)) for split in making.SPLITS
             for seed in (0, 1)}  # fmt: skip
    assert len(first) == 6
    images = many.tensors["image"].flatten(1)
    assert len(images.unique(dim=0)) == len(images)


def changed(**knobs):
    """The entries that a knob changes, in 8 rooms."""
    plain = rooms(n=8, recipe=SMALL, tasks=TASKS).tensors
    other = rooms(n=8, recipe=replace(SMALL, **knobs), tasks=TASKS).tensors
    return {name for name in plain if not torch.equal(plain[name], other[name])}


@pytest.mark.parametrize(
    ("knobs", "entries"),
    [
        ({"contrast": 0.3}, {"image"}),
        ({"lookalike": 0.5}, {"image"}),
        ({"relief": 0.5}, {"image", "normal"}),
        ({"classes": 4}, {"segmentation"}),
        *[({"label_noise": {task: 0.5}}, {task}) for task in TASKS],
    ],
)
def test_a_knob_changes_what_it_says_and_nothing_else(knobs, entries):
    assert changed(**knobs) == entries


def test_zoom_changes_the_focal_length_and_nothing_in_the_room(monkeypatch):
    taken = {}

    def watched(scenes, *rest):
        taken.setdefault(zoom, []).extend(scenes)
        return look(scenes, *rest)

    monkeypatch.setattr(making, "look", watched)
    for zoom in (0.0, 0.3):
        rooms(n=30, seed=77, recipe=replace(SMALL, zoom=zoom))
    ratio = []
    for a, b in zip(taken[0.0], taken[0.3], strict=True):
        assert a == replace(b, camera=b.camera._replace(focal=a.camera.focal))
        ratio.append(b.camera.focal / a.camera.focal)
    assert 1 / 1.3 <= min(ratio) < 0.85 and 1.15 < max(ratio) <= 1.3


def test_contrast_and_relief_are_as_strong_as_asked():
    flat, plain, strong = (
        rooms(n=8, recipe=replace(SMALL, contrast=c)).tensors["image"].float() for c in (0, 1, 2)
    )

    def detail(image):
        return (image[..., 1:] - image[..., :-1]).abs().mean()

    assert detail(flat) < detail(plain) < detail(strong)
    normal = [rooms(n=8, recipe=replace(SMALL, relief=r))[:]["normal"] for r in (0, 0.2, 0.6)]
    tilt = [(normal[0] * other).sum(1).clamp(-1, 1).acos().rad2deg().mean() for other in normal[1:]]
    assert 2 < tilt[0] < 12 and 2 * tilt[0] < tilt[1] < 30
    assert (normal[2].norm(dim=1) - 1).abs().max() < 1e-3


def test_lookalikes_share_their_colours():
    plain, alike = (making._turn(scene, dice(), Rooms(lookalike=share)) for share in (0.0, 1.0)
                    for scene in scenes(1))  # fmt: skip
    lit = [solid for solid in alike.solids if not solid.glow]
    assert len({solid.colour for solid in lit}) == 4
    assert [s._replace(colour=0, texture=0) for s in alike.solids] == [
        s._replace(colour=0, texture=0) for s in plain.solids
    ]


def test_the_coarser_classes_are_groups_of_the_finer():
    fine = rooms(n=8, recipe=SMALL).tensors["segmentation"].long()
    data = rooms(n=8, recipe=replace(SMALL, classes=4))
    coarse = data.tensors["segmentation"].long()
    assert data.targets["segmentation"].classes == GROUPS
    assert torch.equal(fine == -1, coarse == -1)
    of = {
        CLASSES[k]: {GROUPS[g] for g in coarse[fine == k].unique().tolist()}
        for k in fine[fine >= 0].unique().tolist()
    }
    assert all(len(names) == 1 for names in of.values())
    expected = {"floor": "floor", "wall": "structure", "chair": "furniture", "objects": "props"}
    assert {k: of[k].pop() for k in expected} == expected


def test_the_resolution_changes_the_sampling_and_not_the_rooms():
    small = rooms(n=6, recipe=SMALL, tasks=TASKS)
    large = rooms(n=6, recipe=Rooms(height=96, width=128), tasks=TASKS)
    assert large[0]["image"].shape == (3, 96, 128)
    ours, theirs = small[:]["normal"], large[:]["normal"]
    same = (ours * theirs[..., ::2, ::2]).sum(1) > 0.99
    assert same.float().mean() > 0.85
    colour = torch.nn.functional.avg_pool2d(large[:]["image"], 2)
    assert (colour - small[:]["image"]).abs().mean() < 0.04


def test_without_people_nobody_is_there():
    data = rooms(n=12, recipe=replace(SMALL, people=0.0), tasks=("parts",))
    assert (data.tensors["parts"] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, r"split must be one of \('train', 'val', 'test'\), got 'dev'"),
        ({"n": 0}, "n must be an integer from 1 to 131072, got 0"),
        ({"n": 2.0}, "n must be an integer from 1 to 131072, got 2.0"),
        ({"seed": -1}, "seed must be an integer from 0 to 10921, got -1"),
        ({"tasks": ()}, "tasks must name one or more tasks, each once"),
        ({"tasks": ("depth", "depth")}, "tasks must name one or more tasks, each once"),
        ({"tasks": ("disparity",)}, r"tasks must be among .*, got \['disparity'\]"),
        ({"tasks": "depth"}, "tasks must be among .*, got 'depth'|got \\["),
        ({"recipe": Rooms(label_noise={"x": 0.1})}, r"label_noise .* must be among .*'x'"),
        ({"device": "abacus"}, "device must be one that torch can use here, got 'abacus'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        rooms(**{"n": 1, **arguments})


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"height": 50}, "height must be a multiple of 8 from 16 up, got 50"),
        ({"width": 128.0}, "width must be a multiple of 8 from 16 up, got 128.0"),
        ({"contrast": 3}, "contrast must be between 0 and 2, got 3"),
        ({"relief": -0.1}, "relief must be between 0 and 1, got -0.1"),
        ({"zoom": math.nan}, "zoom must be between 0 and 1, got nan"),
        ({"lookalike": 1.5}, "lookalike must be between 0 and 1, got 1.5"),
        ({"classes": 7}, "classes must be 13 or 4, got 7"),
        ({"people": 2}, "people must be between 0 and 1, got 2"),
        ({"label_noise": {"depth": 2}}, r"label_noise\['depth'\] must be between 0 and 1, got 2"),
    ],
)
def test_bad_knobs_are_named(knobs, message):
    with pytest.raises(ValueError, match=message):
        Rooms(**knobs)


def test_a_room_is_drawn_from_its_dice_alone():
    assert layout(dice(9), SMALL) == layout(dice(9), SMALL) != layout(dice(8), SMALL)


def test_the_random_numbers_of_the_caller_are_left_alone(monkeypatch):
    monkeypatch.setattr(making, "CHUNK", 48 * 64)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        before = torch.get_rng_state()
        rooms("val", n=4, seed=70 + threads, recipe=SMALL)
        assert torch.equal(torch.get_rng_state(), before)
