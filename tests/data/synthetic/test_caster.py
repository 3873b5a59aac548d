"""What rays meet: the geometry is exact."""

import math
import random
from dataclasses import replace

import pytest
import torch
from scenery import facing, furnished_rooms, seen

from tssbn.data.synthetic.scenes import Rooms, caster, rooms
from tssbn.data.synthetic.scenes import shadow as shadows
from tssbn.data.synthetic.scenes.caster import cast, surface
from tssbn.data.synthetic.scenes.rooms import intrinsics
from tssbn.data.synthetic.scenes.shadow import shadow
from tssbn.data.synthetic.scenes.solids import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    Camera,
    box,
    cylinder,
    ellipsoid,
    rotation,
)
from tssbn.data.synthetic.scenes.table import COLUMNS, pack
from tssbn.data.synthetic.scenes.tiles import rays, untile


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
    for scene in furnished_rooms(4, seed=5):
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
    some = furnished_rooms(4, seed=3)
    quick = seen(some)
    tried = []

    for module, name in ((caster, "_in_tiles"), (shadows, "_in_the_way")):
        real = getattr(module, name)

        def all_that_cast(solids, view, *rest, real=real):
            chosen = real(solids, view, *rest)
            every = (solids.shape >= 0)[view.scene]
            if rest:  # a light
                casts = solids.table[COLUMNS.index("casts")].view_as(solids.shape) > 0
                every = every & casts[view.scene]
            tried.append(chosen.sum() / every.sum())
            return every

        monkeypatch.setattr(module, name, all_that_cast)
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
    both = furnished_rooms(3, seed=8)
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


def test_normals_look_at_the_camera():
    height, width = 48, 64
    i, j = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([j, i, torch.ones_like(i)]).flatten(1)
    ray = (torch.linalg.inv(intrinsics(height, width)) @ pixels).view(3, height, width)
    normal = rooms(n=20, recipe=Rooms(height=48, width=64))[:]["normal"]
    assert (normal.norm(dim=1) - 1).abs().max() < 1e-3
    assert ((normal * ray).sum(1) < 1e-3).all()


def test_a_mirrored_scene_gives_mirrored_labels():
    """Bit for bit: depth and classes flipped, normals flipped and x negated."""
    for scene in furnished_rooms(3, seed=2):
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
