"""Image and targets move together, and each target changes as what it measures does."""

import colorsys
import pickle
import re
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from settings import DEVICE, DTYPE

pytest.importorskip("torchvision")
from torchvision.transforms import InterpolationMode, v2

from tssbn.data.augment import (
    IMAGENET,
    Augment,
    Photometric,
    RandomScale,
    RandomZoom,
    VariedCrop,
    cityscapes,
    nyuv2,
    pascal4,
    pascal5,
)
from tssbn.data.target import Target

TARGETS = {
    "segmentation": Target("classes", ("background", "bed", "wall"), ignore=-1),
    "parts": Target("classes", ("background", "head"), ignore=-1),
    "depth": Target("depth", ignore=0),
    "disparity": Target("disparity", ignore=-1),
    "normal": Target("normal"),
    "Smiling": Target("attribute"),
}
CLASSES = [name for name, target in TARGETS.items() if target.kind == "classes"]
PIPELINES = {
    "nyuv2": nyuv2(TARGETS),
    "cityscapes": cityscapes(TARGETS, crop=8, scale=(0.8, 1.5)),
    "pascal5": pascal5(TARGETS, size=12),
    "pascal5 test": pascal5(TARGETS, train=False, size=12),
    "pascal4": pascal4(TARGETS, size=11),
    "pascal4 test": pascal4(TARGETS, train=False, size=11),
}
SIDES = st.integers(7, 14)
BILINEAR = InterpolationMode.BILINEAR


def random(*shape):
    return torch.rand(shape, dtype=DTYPE, device=DEVICE)


def make(h, w, void=0.2, only=TARGETS):
    """Noise, with a share of pixels that are not to be counted."""
    seen = random(1, h, w) >= void
    sample = {
        "image": random(3, h, w),
        "segmentation": torch.randint(3, (h, w), device=DEVICE).where(seen[0], -1),
        "parts": torch.randint(2, (h, w), device=DEVICE).where(seen[0], -1),
        "depth": (0.5 + random(1, h, w)).where(seen, 0),
        "disparity": random(1, h, w).where(seen, -1),
        "normal": torch.nn.functional.normalize(random(3, h, w) - 0.5, dim=0).where(seen, 0),
        "Smiling": torch.tensor(1, device=DEVICE),
    }
    return {name: sample[name] for name in ("image", *only)}


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


# What holds for every pipeline


@pytest.mark.parametrize("name", PIPELINES)
@settings(max_examples=15, deadline=None)
@given(h=SIDES, w=SIDES, seed=st.integers(0, 2**30))
def test_a_pipeline_gives_a_sample_of_the_same_targets(name, h, w, seed):
    torch.manual_seed(seed)
    before = make(h, w)
    kept = {name: value.clone() for name, value in before.items()}
    after = PIPELINES[name](before)
    assert same(before, kept), "the sample that was given has changed"
    assert list(after) == list(before)
    side = {"nyuv2": (h, w), "cityscapes": (8, 8), "pasca": (11, 11)}
    expected = side.get(name, side["pasca"])
    if name.startswith("pascal5"):
        expected = (max(12, h), max(12, w)) if "test" in name else (12, 12)
    for entry, value in after.items():
        assert type(value) is torch.Tensor and value.is_contiguous()
        assert value.dtype == before[entry].dtype and value.device.type == DEVICE.type
        assert value.shape[:-2] == before[entry].shape[:-2]
        assert entry == "Smiling" or value.shape[-2:] == expected
        assert value.isfinite().all()
    length = after["normal"].norm(dim=0)
    torch.testing.assert_close(length, (length > 0.5).to(length))
    for entry in CLASSES:
        assert set(after[entry].unique().tolist()) <= {-1, *range(len(TARGETS[entry].classes))}
    assert (after["depth"] >= 0).all()
    assert ((after["disparity"] >= 0) | (after["disparity"] == -1)).all()
    assert torch.equal(after["Smiling"], before["Smiling"])


@pytest.mark.parametrize("name", ["nyuv2", "cityscapes", "pascal5", "pascal4"])
def test_the_seed_decides(name):
    sample, results = make(13, 14), []
    for seed in (1, 1, 2, 3, 4):
        torch.manual_seed(seed)
        # Workers get a copy.
        results.append(pickle.loads(pickle.dumps(PIPELINES[name]))(sample))
    assert same(results[0], results[1])
    assert not all(same(results[0], other) for other in results[2:])


# Flips


@settings(max_examples=15, deadline=None)
@given(h=SIDES, w=SIDES, turn=st.sampled_from([v2.RandomHorizontalFlip, v2.RandomVerticalFlip]))
def test_flipped_twice_is_as_before(h, w, turn):
    flip, sample = Augment(TARGETS, [turn(p=1)]), make(h, w)
    once = flip(sample)
    assert not same(once, sample)
    assert same(flip(once), sample)


def test_a_mirror_moves_all_entries_and_negates_x_of_normals():
    sample = make(3, 4)
    mirrored = Augment(TARGETS, [v2.RandomHorizontalFlip(p=1)])(sample)
    for name in set(TARGETS) - {"normal", "Smiling"}:
        assert torch.equal(mirrored[name], sample[name].flip(-1))
    x, y, z = sample["normal"].flip(-1)
    assert torch.equal(mirrored["normal"], torch.stack((-x, y, z)))


# A plane seen by a pinhole camera: its normal as told, and as the depth tells it

H, W, FOCAL = 60, 80, 70.0
NORMAL = torch.tensor([0.5, -0.3, -0.8], dtype=torch.float64)
NORMAL = NORMAL / NORMAL.norm()


def rays(focal, centre):
    v, u = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    return torch.stack(
        ((u - centre[0]) / focal, (v - centre[1]) / focal, torch.ones(H, W))
    ).double()


def plane():
    depth = (NORMAL[2] * 3) / (NORMAL @ rays(FOCAL, ((W - 1) / 2, (H - 1) / 2)).flatten(1))
    return {
        "image": torch.zeros(3, H, W),
        "depth": depth.view(1, H, W),
        "normal": NORMAL[:, None, None].expand(3, H, W),
    }


def degrees_between(a, b):
    return torch.rad2deg(2 * torch.atan2((a - b).norm(dim=0), (a + b).norm(dim=0)))


def fitted(depth, focal=FOCAL, centre=((W - 1) / 2, (H - 1) / 2)):
    """The normal of the plane through the back-projected points, by least squares."""
    points = (rays(focal, centre) * depth).flatten(1)[:, depth.flatten() > 0]
    normal = torch.linalg.svd(points - points.mean(1, keepdim=True))[0][:, 2]
    return normal if normal[2] < 0 else -normal


class CentralZoom(RandomZoom):
    def make_params(self, flat_inputs):
        zoom = self.scales[0]
        h, w = int(H / zoom), int(W / zoom)
        return {"zoom": zoom, "box": ((H - h) // 2, (W - w) // 2, h, w), "size": [H, W]}


@pytest.mark.parametrize(
    ("transform", "zoom", "turned", "tolerance"),
    [
        (v2.RandomHorizontalFlip(p=1), 1, True, 1e-5),
        (v2.RandomVerticalFlip(p=1), 1, True, 1e-5),
        (v2.RandomRotation((30, 30), BILINEAR), 1, True, 0.3),
        (v2.RandomRotation((90, 90), expand=False), 1, True, 0.3),
        (v2.RandomAffine((30, 30), interpolation=BILINEAR), 1, True, 0.3),
        (v2.RandomAffine((-20, -20), scale=(1.3, 1.3)), 1.3, True, 0.3),
        (v2.RandomAffine((15, 15), scale=(0.7, 0.7)), 0.7, True, 0.3),
        (CentralZoom([2]), 2, False, 0.5),
    ],
    ids=str,
)
def test_the_normals_of_a_plane_stay_those_of_its_depth(transform, zoom, turned, tolerance):
    targets = {name: TARGETS[name] for name in ("depth", "normal")}
    sample = plane()
    assert degrees_between(fitted(sample["depth"]), NORMAL) < 1e-5
    after = Augment(targets, [transform])(sample)
    # Depth over the zoom, seen with so much more focal length, is the scene made smaller.
    normal = fitted(after["depth"], zoom * FOCAL)
    told = after["normal"].flatten(1)[:, after["depth"].flatten() > 0]
    assert degrees_between(told, normal[:, None]).max() < tolerance
    assert (degrees_between(normal, NORMAL) > 5) == turned


# Resampling


def disc(h, w):
    """Class 1 in a disc of class 0, with an image that shows the same."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    labels = ((y - h / 2) ** 2 + (x - w / 2.5) ** 2 < (h / 3) ** 2).long()
    return {"image": labels.to(DTYPE).expand(3, h, w), "segmentation": labels}


ONE = {"segmentation": TARGETS["segmentation"]}


def inner(labels):
    """Pixels whose neighbours, two pixels wide, are of one class."""
    around = torch.nn.functional.unfold(labels[None, None].double(), 5)[0]
    same = torch.zeros_like(labels, dtype=torch.bool)
    same[2:-2, 2:-2] = (around == around[:1]).all(0).view(labels.shape[0] - 4, -1)
    return same & (labels >= 0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**30), h=st.integers(16, 40), w=st.integers(16, 40))
def test_labels_stay_on_what_the_image_shows(seed, h, w):
    torch.manual_seed(seed)
    nearest = [v2.RandomHorizontalFlip(), v2.RandomAffine(180, (0.1, 0.1)), v2.RandomCrop(12)]
    after = Augment(ONE, nearest)(disc(h, w))
    inside = after["segmentation"] >= 0
    shown = after["image"][0]
    assert torch.equal(shown[inside], after["segmentation"][inside].to(DTYPE))
    assert (shown[~inside] == 0).all()
    smooth = [
        [RandomZoom([1.3, 2.0])],
        [RandomScale(0.7, 2.0)],
        [v2.RandomRotation(180, BILINEAR)],
        [v2.Resize((23, 31))],
        [v2.RandomResizedCrop(20, scale=(0.5, 1))],
        [v2.Resize(20, InterpolationMode.BICUBIC, antialias=False)],
    ]
    for transforms in smooth:
        after = Augment(ONE, transforms)(disc(h, w))
        where = inner(after["segmentation"])
        shown = after["image"][0][where]
        torch.testing.assert_close(shown, after["segmentation"][where].to(shown), atol=0.15, rtol=0)


@pytest.mark.parametrize(
    "transform",
    [v2.Resize((19, 25)), v2.RandomRotation((35, 35), BILINEAR), RandomZoom([1.5])],
    ids=str,
)
def test_normals_are_blended_as_the_image(transform):
    sample = make(12, 15, void=0, only={"normal": TARGETS["normal"]})
    sample["normal"] = torch.nn.functional.normalize(random(3, 12, 15), dim=0)
    sample["image"] = sample["normal"]
    after = Augment({"normal": TARGETS["normal"]}, [transform])(sample)
    known = after["normal"].norm(dim=0) > 0
    assert known.double().mean() > 0.5
    z = (after["image"][2] / after["image"].norm(dim=0))[known]
    torch.testing.assert_close(after["normal"][2][known], z)


def test_resampled_normals_ignore_what_is_mostly_ignored():
    """A cubic blend overshoots: next to an edge of the known pixels it points backwards."""
    sample = {"image": torch.zeros(3, 4, 8), "normal": torch.zeros(3, 4, 8)}
    sample["normal"][2, :, :4] = -1
    resize = v2.Resize((8, 32), InterpolationMode.BICUBIC, antialias=False)
    z = Augment({"normal": TARGETS["normal"]}, [resize])(sample)["normal"][2]
    assert torch.equal(z, -(torch.arange(32) < 16).float().expand(8, 32))
    assert resize(v2.functional.to_image(sample["normal"]))[2].max() > 0.05


# Pixels from outside


@pytest.mark.parametrize(
    "transform",
    [
        v2.Pad(3),
        v2.Pad(3, fill=1),
        v2.Pad(3, fill=(0.5, 0.4, 0.3)),
        v2.Pad(3, padding_mode="reflect"),
        v2.Pad(3, padding_mode="edge"),
        v2.RandomCrop(20, pad_if_needed=True),
        v2.RandomCrop(20, padding=4, padding_mode="symmetric"),
        v2.CenterCrop(20),
        v2.RandomRotation((40, 40)),
        v2.RandomRotation((40, 40), BILINEAR, expand=True, fill=1),
        v2.RandomAffine(0, scale=(0.5, 0.5), fill=(0.5, 0.4, 0.3)),
        v2.RandomZoomOut(fill=1, side_range=(1.5, 2), p=1),
    ],
    ids=str,
)
def test_pixels_from_outside_are_ignored(transform):
    sample = make(13, 14, void=0)
    after = Augment(TARGETS, [transform])(sample)
    outside = after["segmentation"] == -1
    assert 0.1 < outside.double().mean() < 0.9
    assert torch.equal(after["parts"] == -1, outside)
    assert torch.equal(after["depth"][0] == 0, outside)
    assert torch.equal(after["disparity"][0] == -1, outside)
    length = after["normal"].norm(dim=0)
    assert (length[outside] == 0).all()
    if getattr(transform, "interpolation", None) is not BILINEAR:  # whose border is a blend
        torch.testing.assert_close(length, (~outside).to(length))


def test_fill_replaces_the_ignore_value():
    sample = make(5, 5, void=0)
    after = Augment(TARGETS, [v2.Pad(1)], fill={"segmentation": 2, "depth": 9.0})(sample)
    assert after["segmentation"][0].tolist() == [2] * 7
    assert after["parts"][0].tolist() == [-1] * 7
    assert after["depth"][0, 0].tolist() == [9.0] * 7


def test_labels_follow_what_no_camera_does():
    torch.manual_seed(0)
    for transform in (v2.RandomPerspective(p=1, fill=1), v2.RandomAffine(0, shear=40, fill=1)):
        after = Augment(ONE, [transform])(disc(30, 30))
        outside = after["segmentation"] < 0
        assert outside.any()
        assert (after["image"][0][outside] > 0.49).all()  # half a pixel of the border at most
        two = disc(30, 30)
        two["segmentation"] *= 2  # a blend would make a 1
        assert set(Augment(ONE, [transform])(two)["segmentation"].unique().tolist()) == {-1, 0, 2}
    after = Augment(ONE, [v2.ElasticTransform(30.0)])(disc(30, 30))
    where = inner(after["segmentation"])
    shown = after["image"][0][where]
    torch.testing.assert_close(shown, after["segmentation"][where].to(shown), atol=1e-4, rtol=0)


# Zooms


@pytest.mark.parametrize("zoom", [0.5, 1.0, 1.2, 3.0])
def test_a_zoom_brings_the_scene_nearer(zoom):
    sample = make(30, 31)
    sample["depth"][sample["depth"] > 0] = 3.0
    sample["disparity"][sample["disparity"] > 0] = 0.7
    transforms = [v2.RandomAffine(0, scale=(zoom, zoom)), RandomScale(zoom, zoom)]
    if zoom >= 1:
        transforms.append(RandomZoom([zoom]))
    for transform in transforms:
        after = Augment(TARGETS, [transform])(sample)
        depth, disparity = after["depth"].unique(), after["disparity"].unique()
        torch.testing.assert_close(depth, depth.new_tensor([0, 3 / zoom]))
        torch.testing.assert_close(disparity, disparity.new_tensor([-1, 0.7 * zoom]))


def test_a_scaled_image_is_bilinear():
    sample = make(9, 10)
    after = Augment(TARGETS, [RandomScale(0.7, 0.7)])(sample)
    expected = torch.nn.functional.interpolate(sample["image"][None], (6, 7), mode="bilinear")
    torch.testing.assert_close(after["image"], expected[0])


def test_another_resolution_is_no_zoom():
    sample = make(9, 10)
    after = Augment(TARGETS, [v2.Resize((20, 17))])(sample)
    assert set(after["depth"].unique().tolist()) <= set(sample["depth"].unique().tolist())
    assert after["depth"].shape == (1, 20, 17)


# The protocols


def oracle(sample, zoom, top, left):
    """NYUv2's crop and resize in numpy: aligned corners, or the pixel that an index falls in."""
    h, w = sample["segmentation"].shape
    ch, cw = int(np.floor(h / zoom)), int(np.floor(w / zoom))
    crop = {k: v.cpu().numpy()[..., top : top + ch, left : left + cw] for k, v in sample.items()}

    def nearest(x):
        return x[..., (np.arange(h) * ch // h)[:, None], np.arange(w) * cw // w]

    def bilinear(x):
        y, x_ = np.linspace(0, ch - 1, h), np.linspace(0, cw - 1, w)
        rows = np.array([[np.interp(y, np.arange(ch), column) for column in c.T] for c in x])
        return np.array([[np.interp(x_, np.arange(cw), row) for row in c.T] for c in rows])

    normal = bilinear(crop["normal"])
    length = np.sqrt((normal**2).sum(0))
    after = {
        "image": bilinear(crop["image"]),
        "segmentation": nearest(crop["segmentation"]),
        "depth": nearest(crop["depth"]) / zoom,
        "normal": np.where(length > 0.5, normal / np.where(length == 0, 1, length), 0),
    }
    return {name: torch.from_numpy(after[name]).to(sample[name]) for name in sample}


@pytest.mark.parametrize("zoom", [1.0, 1.2, 1.5])
def test_nyuv2_is_the_protocol_in_numpy(zoom):
    """The result is that of one place and mirror, and all of them are drawn."""
    targets = {name: TARGETS[name] for name in ("segmentation", "depth", "normal")}
    h, w = 10, 12
    sample, transform = make(h, w, only=targets), nyuv2(targets, scales=(zoom,))
    mirrored = Augment(targets, [v2.RandomHorizontalFlip(p=1)])
    expected = {}
    for top in range(h - int(h / zoom) + 1):
        for left in range(w - int(w / zoom) + 1):
            plain = oracle(sample, zoom, top, left)
            expected[top, left, False] = plain
            expected[top, left, True] = mirrored(plain)
    left_over = set(expected)
    for _ in range(12 * len(expected)):
        after = transform(sample)
        drawn = [
            key for key, value in expected.items() if torch.allclose(after["image"], value["image"])
        ]
        assert len(drawn) == 1
        torch.testing.assert_close(after, expected[drawn[0]])
        left_over -= set(drawn)
    assert not left_over


def test_nyuv2_draws_every_scale():
    targets = {"depth": TARGETS["depth"]}
    sample = {"image": torch.zeros(3, 4, 6), "depth": torch.full((1, 4, 6), 3.0)}
    seen = {nyuv2(targets)(sample)["depth"].max().item() for _ in range(30)}
    assert seen == {3.0, 2.5, 2.0}


def test_cityscapes_crops_as_it_is():
    sample = make(16, 32, void=0)
    for _ in range(10):
        after = cityscapes(TARGETS, crop=16)(sample)
        places = [
            (left, mirror)
            for left in range(17)
            for mirror in (False, True)
            if torch.equal(
                sample["image"][..., left : left + 16].flip([-1] if mirror else []),
                after["image"],
            )
        ]
        assert len(places) == 1
        left, mirror = places[0]
        for name in ("segmentation", "parts", "depth", "disparity"):
            cut = sample[name][..., left : left + 16].flip([-1] if mirror else [])
            assert torch.equal(after[name], cut)


def test_cityscapes_scales_what_it_crops():
    sample = make(10, 12, void=0)
    after = cityscapes(TARGETS, crop=20, scale=(2, 2))(sample)
    near = sample["disparity"].repeat_interleave(2, 1).repeat_interleave(2, 2) * 2
    windows = [near[..., left : left + 20] for left in range(5)]
    windows += [window.flip(-1) for window in windows]
    assert any(torch.equal(after["disparity"], window) for window in windows)


def test_cityscapes_mirrors_a_small_image_and_its_labels_are_ignored():
    """The parts of Cityscapes have no void of their own."""
    targets = TARGETS | {"parts": Target("classes", ("background", "window"))}
    after = cityscapes(targets, crop=16)(make(10, 16, void=0))
    for name in ("segmentation", "parts", "disparity"):
        below = after[name].view(16, 16)[10:]
        assert (below == -1).all() and (after[name].view(16, 16)[:10] >= 0).all()
    assert torch.equal(after["image"][:, 10:], after["image"][:, 3:9].flip(1))
    with pytest.raises(ValueError, match=r"of 8x16 .* mirrored to crop=16: choose crop=15 or less"):
        cityscapes(TARGETS, crop=16)(make(8, 16))
    assert cityscapes(TARGETS, crop=15)(make(8, 16))["image"].shape == (3, 15, 15)


def normalised(image):
    mean, std = (torch.tensor(IMAGENET[k]).to(image)[:, None, None] for k in ("mean", "std"))
    return (image - mean) / std


def test_pascal5_pads_after_it_normalises():
    sample = make(9, 6, void=0)
    sample["parts"][0, 0] = 1
    after = pascal5(TARGETS, train=False, size=11)(sample)
    torch.testing.assert_close(after["image"][:, 1:10, 2:8], normalised(sample["image"]))
    border = torch.ones(11, 11, dtype=torch.bool)
    border[1:10, 2:8] = False  # the odd row and column go below and to the right
    assert (after["image"][:, border] == 0).all()
    for name in CLASSES:
        assert torch.equal(after[name][1:10, 2:8], sample[name])
        assert (after[name][border] == -1).all()
    assert (after["normal"][:, border] == 0).all()
    large = make(9, 14)
    large["parts"][0, 0] = 1
    uncut = pascal5(TARGETS, train=False, size=11)(large)
    assert torch.equal(uncut["depth"][:, 1:10], large["depth"])


def test_pascal5_scales_by_the_nearest_pixel():
    sample = make(10, 12, void=0)
    sample["parts"][:] = 1
    for _ in range(5):
        after = pascal5(TARGETS, size=60, scale=(0.5, 2.5))(sample)
        inside = after["segmentation"] >= 0
        h, w = (int(inside.any(axis).sum()) for axis in (1, 0))
        zoom = sample["depth"].max() / after["depth"].max()
        assert (h, w) == (int(10 * zoom + 1e-4), int(12 * zoom + 1e-4))
        known = {tuple(n) for n in sample["normal"].flatten(1).T.round(decimals=3).abs().tolist()}
        got = after["normal"][:, inside].T.round(decimals=3).abs().tolist()
        assert {tuple(n) for n in got} <= known
        assert (after["image"][:, ~inside] == 0).all()


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("pipeline", [pascal5, pascal4])
def test_parts_of_an_image_without_people_are_ignored(pipeline, train):
    sample = make(12, 12)
    transform = pipeline(TARGETS, train=train, size=12)
    sample["parts"] = sample["parts"].clamp(max=0)
    assert (transform(sample)["parts"] == -1).all()
    sample["parts"][4:8, 4:8] = 1
    after = transform(sample)["parts"]
    assert (after == 1).any() and (after == 0).any()
    rest = {name: target for name, target in TARGETS.items() if name != "parts"}
    assert "parts" not in pipeline(rest, train=train, size=12)(make(12, 12, only=rest))


def test_crops_of_one_class_are_drawn_again():
    """A stripe of class 1 in class 0: random crops show mostly one class, varied ones do not."""
    labels = torch.zeros(40, 40, dtype=torch.long)
    labels[20:23] = 1
    sample = {"image": labels.expand(3, -1, -1).to(DTYPE), "segmentation": labels}

    def shares(share):
        crop = Augment(ONE, [VariedCrop(7, "segmentation", share)])
        crops = [crop(sample)["segmentation"] for _ in range(200)]
        assert {tuple(labels.shape) for labels in crops} == {(7, 7)}
        return torch.tensor([(crop == 0).double().mean() for crop in crops])

    # Of 34 rows to start at, 7 show two or three of the stripe's. One draw, or up to eleven:
    assert 0.10 < (shares(1.1) < 0.75).double().mean() < 0.31  # 7/34 = 0.21
    assert 0.86 < (shares(0.75) < 0.75).double().mean() < 0.98  # 1 - (27/34)^11 = 0.92
    # What is not labelled does not count, and what is alone is too much.
    labels[:] = -1
    labels[20] = torch.arange(40) % 2
    assert (shares(0.75) > 0).double().mean() > 0.86


def test_a_crop_shows_all_of_a_small_image():
    sample = make(5, 20)
    after = Augment(TARGETS, [VariedCrop(8, "segmentation")])(sample)
    columns = sample["segmentation"].unfold(1, 8, 1).unbind(1)
    assert any(torch.equal(after["segmentation"], window) for window in columns)


@pytest.mark.parametrize(
    "transform",
    [
        pascal5(TARGETS, size=12, scale=(1, 1)),
        pascal4(TARGETS, size=12, degrees=0, scale=(1, 1)),
    ],
    ids=["pascal5", "pascal4"],
)
def test_half_of_the_samples_are_mirrored(transform):
    sample = make(12, 12)
    mirrored = 0
    for _ in range(60):
        after = transform(sample)["segmentation"]
        mirrored += torch.equal(after, sample["segmentation"].flip(-1))
        assert torch.equal(after, sample["segmentation"].flip(-1)) or torch.equal(
            after, sample["segmentation"]
        )
    assert 15 < mirrored < 45


def test_a_photometric_distortion_draws_in_the_ranges_of_the_protocol():
    draws = {"brightness": [], "contrast": [], "saturation": [], "hue": []}
    for _ in range(600):
        for step, by in Photometric().make_params([]).items():
            draws[step].append(by)
    ranges = {
        "brightness": (-32 / 255, 32 / 255),
        "contrast": (0.5, 1.5),
        "saturation": (0.5, 1.5),
        "hue": (-18 / 180, 18 / 180),
    }
    for step, (low, high) in ranges.items():
        got = torch.tensor(draws[step])
        assert 240 < len(got) < 360
        slack = 0.05 * (high - low)
        assert low <= got.min() < low + slack and high - slack < got.max() <= high


def test_a_photometric_distortion_is_that_of_the_protocol():
    """Against colorsys; the draws are told by ``make_params``."""
    image = random(3, 5, 6)
    seen = set()
    for _ in range(40):
        distort = Photometric()
        params = distort.make_params([])
        seen.add(tuple(params))
        pixels = image.flatten(1).T.tolist()
        for step, by in params.items():
            for i, pixel in enumerate(pixels):
                if step == "brightness":
                    pixel = [c + by for c in pixel]
                elif step == "contrast":
                    pixel = [c * by for c in pixel]
                else:
                    h, s, v = colorsys.rgb_to_hsv(*pixel)
                    h, s = (h, min(s * by, 1)) if step == "saturation" else ((h + by) % 1, s)
                    pixel = colorsys.hsv_to_rgb(h, s, v)
                pixels[i] = [min(max(c, 0), 1) for c in pixel]
        got = distort.transform(v2.functional.to_image(image), params)
        expected = image.new_tensor(pixels).T.view_as(image)
        torch.testing.assert_close(got.as_subclass(torch.Tensor), expected, atol=1e-5, rtol=0)
    assert len(seen) > 8
    assert any(
        step.index("contrast") < step.index("hue")
        for step in seen
        if {"contrast", "hue"} <= {*step}
    )
    assert any(
        step.index("contrast") > step.index("hue")
        for step in seen
        if {"contrast", "hue"} <= {*step}
    )


def test_pascal4_borders_are_background():
    sample = make(12, 12, void=0)
    for name in CLASSES:
        sample[name][:] = 1
    after = pascal4(TARGETS, size=24, degrees=0, scale=(0.5, 0.5))(sample)
    border = torch.ones(24, 24, dtype=torch.bool)
    border[6:18, 6:18] = False
    for name in CLASSES:
        assert (after[name][border] == 0).all() and (after[name][~border] == 1).all()
    assert (after["normal"][:, border] == 0).all()
    assert (after["depth"][:, border] == 0).all()
    black = normalised(torch.zeros(3, 1, 1, dtype=DTYPE))[:, 0]
    torch.testing.assert_close(after["image"][:, 0], black.expand(3, 24))


def test_pascal4_tests_on_the_resized_image():
    sample = make(9, 12)
    sample["parts"][0, 0] = 1
    after = pascal4(TARGETS, train=False, size=18)(sample)
    cubic = torch.nn.functional.interpolate(sample["image"][None], (18, 18), mode="bicubic")[0]
    torch.testing.assert_close(after["image"], normalised(cubic))
    rows, columns = torch.arange(18) * 9 // 18, torch.arange(18) * 12 // 18
    assert torch.equal(after["parts"], sample["parts"][rows[:, None], columns])


# What is refused


def broken(**changed):
    sample = make(4, 5) | changed
    return {name: value for name, value in sample.items() if value is not None}


@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        (broken(depth=None), ValueError, "sample must hold 'image' and one entry for each target"),
        (broken(image=None), ValueError, "got ['Smiling', 'depth', 'disparity', 'normal', 'parts"),
        (broken(edges=torch.zeros(4, 5)), ValueError, "'depth', 'disparity', 'edges', 'image'"),
        (
            broken(depth=torch.zeros(1, 5, 4)),
            ValueError,
            "sample['depth'] must have shape (1, 4, 5) as its image is 4x5, got (1, 5, 4)",
        ),
        (
            broken(segmentation=torch.zeros(1, 4, 5)),
            ValueError,
            "sample['segmentation'] must have shape (4, 5) as its image is 4x5, got (1, 4, 5)",
        ),
        (broken(normal=torch.zeros(1, 4, 5)), ValueError, "shape (3, 4, 5) as its image is 4x5"),
        (broken(Smiling=torch.zeros(1)), ValueError, "sample['Smiling'] must have shape ()"),
        (broken(image=torch.zeros(2, 3, 4, 5)), ValueError, "one by one, then batched"),
        (
            broken(image=torch.zeros(1, 4, 5)),
            ValueError,
            "must have shape (3, H, W), got (1, 4, 5)",
        ),
        (
            broken(image=torch.zeros(3, 4, 5, dtype=torch.uint8)),
            TypeError,
            "sample['image'] must be floating in [0, 1], got torch.uint8",
        ),
    ],
    ids=lambda value: None if isinstance(value, (dict, type)) else value,
)
def test_a_wrong_sample_is_refused(sample, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Augment(TARGETS, [v2.RandomHorizontalFlip()])(sample)


@pytest.mark.parametrize("name", ["depth", "disparity", "normal"])
@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (v2.RandomPerspective(p=1), "cannot follow perspective transforms"),
        (v2.ElasticTransform(), "cannot follow elastic transforms"),
        (v2.RandomAffine(0, shear=(10, 20)), "cannot follow a shear, got (1"),
        (v2.RandomResizedCrop(4), "cannot follow RandomResizedCrop, .*: use RandomZoom"),
    ],
)
def test_what_no_camera_does_is_refused(name, transform, message):
    targets = {name: TARGETS[name]}
    augment = Augment(targets, [transform])
    sample = make(24, 24, only=targets)
    if name == "normal" and isinstance(transform, v2.RandomResizedCrop):
        assert augment(sample)["normal"].shape == (3, 4, 4)
        return
    with pytest.raises(ValueError, match=message.replace("(", "\\(")):
        augment(sample)


def test_pixels_from_outside_need_a_value():
    targets = {"parts": Target("classes", ("background", "window"))}
    sample = make(6, 6, void=0, only=targets)
    assert Augment(targets, [v2.RandomCrop(4)])(sample)["parts"].shape == (4, 4)
    with pytest.raises(ValueError, match=re.escape("'parts' has no ignore value")):
        Augment(targets, [v2.Pad(1)])(sample)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(Augment, TARGETS, [v2.Pad(1)], fill={"edges": 0}), "fill must name some of"),
        (partial(RandomZoom, [0.9, 1.2]), "scales must be 1 or more, got (0.9, 1.2)"),
        (partial(RandomZoom, []), "scales must be 1 or more, got ()"),
        (partial(RandomScale, 0, 1), "must be 0 < low <= high, got low=0, high=1"),
        (partial(RandomScale, 2, 1), "must be 0 < low <= high, got low=2, high=1"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_a_transform_is_no_list_and_a_tensor_is_no_sample():
    flip = v2.RandomHorizontalFlip()
    for one in (flip, v2.Compose([flip])):
        with pytest.raises(TypeError, match="transforms must be a list of transforms, got "):
            Augment(TARGETS, one)
    for sample, name in ((torch.rand(3, 4, 5), "Tensor"), ((torch.rand(3, 4, 5), 1), "tuple")):
        with pytest.raises(TypeError, match=f"sample must be a dict of tensors, got {name}"):
            Augment(TARGETS, [flip])(sample)
