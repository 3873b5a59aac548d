"""Synthetic streets: labels by their definitions, and what each argument changes."""

import pytest
import torch

from tssbn.data.synthetic.scenes.classes import CATEGORIES, CATEGORY, CLASSES, LABEL
from tssbn.data.synthetic.scenes.dice import Dice
from tssbn.data.synthetic.scenes.labels import CITYSCAPES_PARTS
from tssbn.data.synthetic.scenes.solids import Camera, Scene
from tssbn.data.synthetic.scenes.streets import (
    BASELINE,
    FOCAL,
    TARGETS,
    Streets,
    encode,
    layout,
    streets,
)
from tssbn.data.synthetic.scenes.view import View, look

TASKS = tuple(TARGETS)
SMALL = Streets(height=48, width=96)
TINY = Streets(height=32, width=64)
SKY = LABEL["sky"]


@pytest.fixture(scope="module")
def data():
    return streets("train", n=48, recipe=SMALL, tasks=TASKS)[:]


@pytest.fixture(scope="module")
def tiny():
    return streets("val", n=4, recipe=TINY, tasks=TASKS)


def empty(height: int, width: int) -> View:
    """A picture of one grey surface 10 m away, focal length 100 pixels."""
    flat = torch.zeros(1, height, width, dtype=torch.int32)
    normal = torch.zeros(1, 3, height, width)
    normal[:, 2] = -1
    return View(
        image=torch.full((1, 3, height, width), 128, dtype=torch.uint8),
        depth=torch.full((1, height, width), 10.0),
        normal=normal,
        label=flat,
        part=flat,
        instance=flat,
        focal=torch.tensor([100.0]),
        chance=torch.zeros(1, height, width),
    )


# ------------------------------------------- what samples hold


def test_samples_have_the_declared_shapes_and_types(data):
    one = streets("train", n=48, recipe=SMALL)
    assert list(one[0]) == ["image", "segmentation", "parts", "disparity"]
    assert list(one.targets) == ["segmentation", "parts", "disparity"]
    assert data["image"].shape == (48, 3, 48, 96)
    assert data["image"].dtype is torch.float32
    assert 0 <= data["image"].min() < data["image"].max() <= 1
    for task, target in TARGETS.items():
        channels = () if target.kind == "classes" else (1,)
        assert data[task].shape == (48, *channels, 48, 96)
        whole = target.kind == "classes"
        assert data[task].dtype is (torch.int64 if whole else torch.float32)
        if whole:
            assert -1 <= data[task].min() <= data[task].max() < len(target.classes)


def test_the_default_picture_is_twice_as_wide_as_high():
    assert (Streets().height, Streets().width, Streets().classes) == (96, 192, 19)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_occurs(data, name):
    found = (data["segmentation"] == LABEL[name]).flatten(1).any(1)
    assert found.sum() >= 3
    assert (data["segmentation"] == LABEL[name]).float().mean() < 0.5  # no constant is right


@pytest.mark.parametrize("name", CITYSCAPES_PARTS)
def test_every_part_occurs(data, name):
    assert (data["parts"] == CITYSCAPES_PARTS.index(name)).any()


# ---------------------------------------------------- disparity


def test_disparity_is_focal_times_baseline_over_depth():
    streets = [layout(Dice(torch.Generator().manual_seed(seed)), SMALL) for seed in range(6)]
    view = look(streets, 48, 96, torch.full((6, 7, 48, 96), 0.5))
    entries = encode(view, SMALL)
    disparity, depth = entries["disparity"].squeeze(1), entries["depth"].squeeze(1)
    valid = disparity != -1
    assert torch.equal(depth, view.depth.where(valid, 0))
    focal = torch.tensor(FOCAL) * 96
    assert torch.equal(disparity[valid], (focal * BASELINE) / view.depth[valid])
    assert 0.7 < valid.float().mean() < 0.95
    assert view.depth[valid].min() >= 3 and view.depth[valid].isfinite().all()
    assert (view.label == SKY).any() and (view.label[valid] != SKY).all()
    assert (view.depth < 3).any(), "our bonnet is in sight"


def test_our_bonnet_is_void_and_has_no_disparity(data):
    bonnet = data["segmentation"][:, -1] == -1
    assert bonnet.any()
    assert (data["disparity"][:, 0, -1][bonnet] == -1).all()


def test_what_the_right_camera_does_not_see_has_no_disparity():
    view = empty(4, 24)
    view.depth[:, :, 12:] = 100 * BASELINE / 6  # disparity 6, the rest 2.2
    disparity = encode(view, TINY)["disparity"][0, 0, 0]
    hidden = (disparity == -1).nonzero().flatten().tolist()
    # 0 and 1 lie beyond the border (their centres at 0.5 and 1.5 move by 2.2 to the left); what
    # moves by 3.8 less than a thing up to 3.8 pixels to its right is behind that thing.
    assert hidden == [0, 1, 11]
    wide = empty(4, 96)
    wide.depth[:, :, 48:] = 100 * BASELINE / 6
    disparity = encode(wide, TINY)["disparity"][0, 0, 0]
    assert (disparity == -1).nonzero().flatten().tolist() == [0, 1, 45, 46, 47]


# ------------------------------------------- classes and parts


def test_the_seven_categories_are_the_official_grouping(data):
    official = {
        "flat": ("road", "sidewalk"),
        "construction": ("building", "wall", "fence"),
        "object": ("pole", "traffic light", "traffic sign"),
        "nature": ("vegetation", "terrain"),
        "sky": ("sky",),
        "human": ("person", "rider"),
        "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
    }
    assert tuple(official) == CATEGORIES
    for name, group in zip(CLASSES, CATEGORY, strict=True):
        assert name in official[CATEGORIES[group]]
    coarse = streets("train", n=8, recipe=Streets(height=48, width=96, classes=7))
    assert coarse.targets["segmentation"].classes == CATEGORIES
    assert torch.equal(coarse[:]["image"], data["image"][:8])
    table = torch.tensor((*CATEGORY, -1))
    assert torch.equal(coarse[:]["segmentation"], table[data["segmentation"][:8]])


def test_the_classes_are_those_of_the_reader_of_the_real_set():
    real = pytest.importorskip("tssbn.data.real.cityscapes")
    from tssbn.data.real import cityscapes_small

    assert (real.CLASSES, real.PARTS) == (CLASSES, CITYSCAPES_PARTS)
    assert cityscapes_small.CATEGORIES == CATEGORIES


def test_parts_lie_on_their_classes_and_nowhere_else(data):
    def on(*names):
        return torch.isin(data["segmentation"], torch.tensor([LABEL[name] for name in names]))

    people, vehicles = on("person", "rider"), on("car", "truck", "bus")
    part = data["parts"]
    assert torch.equal((part >= 1) & (part <= 4), people)
    assert torch.equal(part >= 5, vehicles)


# ---------------------------------------------------- flipping


def test_a_mirrored_street_gives_mirrored_pictures():
    scene = layout(Dice(torch.Generator().manual_seed(3)), TINY)

    def mirrored(vector):
        return (-vector[0], *vector[1:])

    solids = [
        solid._replace(centre=mirrored(solid.centre), axes=tuple(map(mirrored, solid.axes)))
        for solid in scene.solids
    ]
    camera = Camera(mirrored(scene.camera.eye), -scene.camera.yaw, *scene.camera[2:])
    other = Scene(camera, solids, scene.lights, sky_label=SKY)
    noise = torch.full((2, 7, 32, 64), 0.5)
    view = look([scene, other], 32, 64, noise)
    for field in ("depth", "label", "part", "instance"):
        one, two = getattr(view, field)
        assert torch.equal(one.flip(-1), two), field
    flipped = view.normal[0].flip(-1) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    assert torch.equal(flipped, view.normal[1])


# ---------------------------------- the same, and not the same


def test_a_smaller_set_is_the_beginning_of_a_larger_one(tiny):
    first = streets("val", n=2, recipe=TINY, tasks=TASKS)
    for task in ("image", *TASKS):
        assert torch.equal(first[:][task], tiny[:2][task]), task


def test_splits_and_seeds_show_other_streets(tiny):
    pictures = [tiny[0]["image"]]
    for split, seed in (("train", 0), ("test", 0), ("val", 1)):
        pictures.append(streets(split, n=1, seed=seed, recipe=TINY)[0]["image"])
    for i, one in enumerate(pictures):
        for two in pictures[:i]:
            assert (one - two).abs().mean() > 0.03


def test_no_street_runs_out_of_random_numbers():
    generator = torch.Generator().manual_seed(0)
    longest = max(len(layout(Dice(generator), TINY).solids) for _ in range(80))
    assert longest > 500  # long streets were among them


# ----------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": "training"}, "split must be one of .* got 'training'"),
        ({"n": 0}, "n must be .* got 0"),
        ({"n": 2.0}, "n must be .* got 2.0"),
        ({"seed": -1}, "seed must be .* got -1"),
        ({"tasks": ("segmentation", "attributes")}, "tasks must be among .* got .*attributes"),
        ({"tasks": "disparity"}, "tasks must be among"),
        ({"tasks": ()}, "tasks must name one or more"),
    ],
)
def test_bad_arguments_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        streets(**{"split": "val", "n": 1, "recipe": TINY, **wrong})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": 13}, "classes must be 19 or 7, got 13"),
        ({"height": 30}, "height must be .* got 30"),
        ({"zoom": -0.5}, "zoom must be .* got -0.5"),
    ],
)
def test_bad_knobs_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Streets(**wrong)
