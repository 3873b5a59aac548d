"""Image and targets move together, and each target changes as what it measures does."""

import pickle
import re
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import TARGETS, make, random, same
from settings import DEVICE, DTYPE

pytest.importorskip("torchvision")
from torchvision.transforms import InterpolationMode, v2

from tssbn.data.augment import (
    Augment,
    RandomScale,
    RandomZoom,
    cityscapes,
    nyuv2,
    pascal4,
    pascal5,
)
from tssbn.data.target import Target

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


# What holds for every pipeline


@pytest.mark.parametrize("name", PIPELINES)
@settings(max_examples=15)
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


@settings(max_examples=15)
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


@settings(max_examples=15)
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
