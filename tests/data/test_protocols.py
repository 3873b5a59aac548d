"""The pipelines of the benchmarks do what their protocols say."""

import colorsys

import numpy as np
import pytest
import torch
from samples import TARGETS, make, random
from settings import DTYPE

pytest.importorskip("torchvision")
from torchvision.transforms import v2

from tssbn.data.augment import (
    Augment,
    cityscapes,
    nyuv2,
    pascal4,
    pascal5,
)
from tssbn.data.augment.protocols import IMAGENET
from tssbn.data.augment.transforms import Photometric, VariedCrop
from tssbn.data.target import Target

CLASSES = [name for name, target in TARGETS.items() if target.kind == "classes"]


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
        if not left_over:
            return
    pytest.fail(f"never drawn: {left_over}")


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
        crop = Augment(
            {"segmentation": TARGETS["segmentation"]}, [VariedCrop(7, "segmentation", share)]
        )
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
