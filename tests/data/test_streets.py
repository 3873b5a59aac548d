import pytest
import torch

from tssbn.data.synthetic.scenes import roadside
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
        channels = {"classes": (), "disparity": (1,), "depth": (1,), "normal": (3,)}[target.kind]
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


@pytest.mark.parametrize("task", ["saliency", "boundary", "human_parts"])
def test_every_class_of_the_other_tasks_occurs(data, task):
    assert data[task].unique().tolist() == list(range(len(TARGETS[task].classes)))


# ------------------------------------ disparity, depth, normal


def test_disparity_is_focal_times_baseline_over_depth(data):
    depth, disparity = data["depth"], data["disparity"]
    valid = disparity != -1
    assert torch.equal(valid, depth != 0)
    focal = torch.tensor(FOCAL) * 96
    assert torch.equal(disparity[valid], (focal * BASELINE) / depth[valid])
    assert disparity[valid].min() > 0
    assert 0.7 < valid.float().mean() < 0.95


def test_the_sky_has_neither_disparity_nor_depth_nor_normal(data):
    sky = data["segmentation"] == SKY
    assert (data["disparity"].squeeze(1)[sky] == -1).all()
    assert (data["depth"].squeeze(1)[sky] == 0).all()
    assert torch.equal((data["normal"] == 0).all(1), sky)


def test_our_bonnet_is_void_and_has_no_disparity(data):
    bonnet = data["segmentation"][:, -1] == -1
    assert bonnet.any()
    assert (data["disparity"][:, 0, -1][bonnet] == -1).all()
    assert data["depth"][data["depth"] > 0].min() >= 3


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


def test_normals_are_unit_and_face_the_camera(data):
    known = data["segmentation"] != SKY
    length = data["normal"].norm(dim=1)
    assert (length[known] - 1).abs().max() < 2e-3  # kept as 16-bit floats
    ray = torch.ones(3, 48, 96)
    ray[0] = (torch.arange(96) + 0.5 - 48) / (FOCAL * 96)
    ray[1] = ((torch.arange(48) + 0.5 - 24) / (FOCAL * 96))[:, None]
    towards = (data["normal"] * ray).sum(1)
    assert towards[known].max() < 0.02


def test_normals_fit_the_depth(data):
    depth, known = data["depth"].double(), data["depth"] > 0
    x = (torch.arange(96) + 0.5 - 48) / (FOCAL * 96)
    y = ((torch.arange(48) + 0.5 - 24) / (FOCAL * 96))[:, None]
    point = torch.cat([x * depth, y * depth, depth], 1)
    right = point[..., :-1, 1:] - point[..., :-1, :-1]
    down = point[..., 1:, :-1] - point[..., :-1, :-1]
    fitted = torch.linalg.cross(down, right, dim=1)
    fitted = fitted / fitted.norm(dim=1, keepdim=True)
    normal = data["normal"].double()
    here, beside, below = normal[..., :-1, :-1], normal[..., :-1, 1:], normal[..., 1:, :-1]
    smooth = (here == beside).all(1) & (here == below).all(1)
    smooth &= (known[..., :-1, :-1] & known[..., :-1, 1:] & known[..., 1:, :-1]).squeeze(1)
    # Not the arc cosine: the rounding of 16-bit normals would be most of it.
    sine, cosine = torch.linalg.cross(here, fitted, dim=1).norm(dim=1), (here * fitted).sum(1)
    assert smooth.float().mean() > 0.2
    assert torch.rad2deg(torch.atan2(sine, cosine))[smooth].median() < 0.5


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
    assert (real.CLASSES, real.CATEGORIES, real.PARTS) == (CLASSES, CATEGORIES, CITYSCAPES_PARTS)


def test_parts_lie_on_their_classes_and_nowhere_else(data):
    def on(*names):
        return torch.isin(data["segmentation"], torch.tensor([LABEL[name] for name in names]))

    people, vehicles = on("person", "rider"), on("car", "truck", "bus")
    part = data["parts"]
    assert torch.equal((part >= 1) & (part <= 4), people)
    assert torch.equal(part >= 5, vehicles)
    human = data["human_parts"]
    assert torch.equal(human > 0, people)
    coarse = torch.tensor((0, 2, 1, 3, 3, 4, 4))  # head, torso, two of arms, two of legs
    assert torch.equal(coarse[human], part.where(people, torch.zeros_like(part)))


def test_boundaries_are_where_class_or_object_change():
    view = empty(4, 6)
    view.label[:, :, 3:] = 1
    instance = view.instance.clone()
    instance[:, 2:, :2] = 1
    view = View(**{**vars(view), "instance": instance})
    assert encode(view, TINY)["boundary"][0].tolist() == [
        [0, 0, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
    ]


def test_every_change_of_class_is_a_boundary(data):
    label, edge = data["segmentation"], data["boundary"] == 1
    changes = torch.zeros_like(edge)
    changes[..., :-1] |= label[..., :-1] != label[..., 1:]
    changes[:, :-1] |= label[:, :-1] != label[:, 1:]
    assert edge[changes].all()
    inside = label[edge & ~changes]  # between two objects of one class
    assert inside.numel() and (inside >= LABEL["person"]).all()


def test_what_covers_one_percent_is_salient():
    view = empty(10, 20)  # two pixels are one percent
    view.instance[0, 0, :2] = 1
    view.instance[0, 5, 5] = 2
    assert encode(view, TINY)["saliency"][0].nonzero().tolist() == [[0, 0], [0, 1]]


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


def test_wrong_labels_change_their_task_alone(tiny):
    noisy = streets(
        "val", n=4, recipe=Streets(height=32, width=64, label_noise={"parts": 0.5}), tasks=TASKS
    )
    for task in ("image", *TASKS):
        assert torch.equal(noisy[:][task], tiny[:][task]) == (task != "parts")


@pytest.mark.parametrize("knob", [{"contrast": 0.0}, {"lookalike": 1.0}])
def test_knobs_of_the_picture_leave_the_labels_alone(tiny, knob):
    changed = streets("val", n=4, recipe=Streets(height=32, width=64, **knob), tasks=TASKS)
    assert not torch.equal(changed[:]["image"], tiny[:]["image"])
    for task in ("segmentation", "parts", "depth", "normal", "boundary"):
        assert torch.equal(changed[:][task], tiny[:][task])


@pytest.mark.parametrize("contrast", [0.0, 0.25, 1.0])
def test_with_less_contrast_windows_turn_into_wall(contrast):
    house = roadside.house(Dice(torch.Generator().manual_seed(1)), 1, 5.0, 10.0, 12.0)
    facade = next(solid for solid in house if solid.colour == roadside.PANE)
    shown = roadside.faded(facade, contrast)
    wall = torch.tensor(facade.texture.second)
    glass, joint = torch.tensor(shown.colour), torch.tensor(shown.texture.second)
    torch.testing.assert_close(glass + (joint - glass) * contrast, wall)  # what the caster does
    torch.testing.assert_close(glass, wall + (torch.tensor(roadside.PANE) - wall) * contrast)


def test_no_street_runs_out_of_random_numbers():
    generator = torch.Generator().manual_seed(0)
    longest = max(len(layout(Dice(generator), TINY).solids) for _ in range(200))
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
        ({"contrast": -0.5}, "contrast must be .* got -0.5"),
        ({"label_noise": {"parts": 1.5}}, r"label_noise\['parts'\] must be .* got 1.5"),
    ],
)
def test_bad_knobs_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Streets(**wrong)
