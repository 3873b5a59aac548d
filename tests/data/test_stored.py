"""A stored data set gives the samples of the one that it was read from, bit for bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset, Subset

from tssbn.data.stored import Stored
from tssbn.data.target import Target

TARGETS = {
    "segmentation": Target("classes", ("bed", "wall"), ignore=-1),
    "depth": Target("depth", ignore=0),
    "normal": Target("normal", ignore=0),
    "Smiling": Target("attribute"),
}


class Listed(Dataset):
    targets = TARGETS

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def sample(seed, image=None, depth=None):
    g = torch.Generator().manual_seed(seed)
    return {
        "image": torch.randint(256, (3, 4, 6), generator=g) / 255 if image is None else image,
        "segmentation": torch.randint(-1, 2, (4, 6), generator=g),
        "depth": torch.rand(1, 4, 6, generator=g) if depth is None else depth,
        "normal": torch.nn.functional.normalize(torch.rand(3, 4, 6, generator=g), dim=0),
        "Smiling": torch.randint(2, (), generator=g),
    }


def same(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_equal_those_of_the_source(workers):
    source = Listed([sample(seed) for seed in range(5)])
    stored = Stored.read(source, workers)
    assert len(stored) == 5
    assert all(same(stored[i], source[i]) for i in range(5))
    assert same(stored[-1], source[4])


def test_a_subset_of_a_subset_has_the_targets_of_the_whole():
    source = Listed([sample(seed) for seed in range(5)])
    stored = Stored.read(Subset(Subset(source, [4, 3, 1]), [0, 2]))
    assert len(stored) == 2 and stored.targets == TARGETS
    assert same(stored[0], source[4]) and same(stored[1], source[1])


@pytest.mark.parametrize("targets", [None, torch.tensor([3, 1])])
def test_a_data_set_without_targets_is_refused(targets):
    source = Listed([sample(0)])
    source.targets = targets
    for dataset in (source, Subset(source, [0])):
        with pytest.raises(TypeError, match=r"dataset must have targets, .* got Listed"):
            Stored.read(dataset)


def test_it_says_what_it_holds():
    stored = Stored.read(Listed([sample(0), sample(1)]))
    text = "image 3x4x6, segmentation 2 classes, depth, normal, 1 attribute"
    assert repr(stored) == f"Stored(2 samples: {text})"
    image = {"image": torch.zeros(1200, 3, 1, 1)}
    assert repr(Stored(image, {})) == "Stored(1,200 samples: image 3x1x1)"


def test_the_smallest_exact_types_are_taken():
    half = torch.full((1, 4, 6), 2.5)
    stored = Stored.read(Listed([sample(0, depth=half), sample(1, depth=2 * half)]))
    types = {name: value.dtype for name, value in stored.tensors.items()}
    assert types == {
        "image": torch.uint8,
        "segmentation": torch.int8,
        "depth": torch.float16,
        "normal": torch.float32,
        "Smiling": torch.int8,
    }


def test_a_later_sample_that_needs_more_widens_what_is_there():
    """0.1 is no k/255 and no 16-bit float; k/255 is no 16-bit float either."""
    exact = torch.full((3, 4, 6), 51 / 255)
    source = Listed([sample(0, image=exact), sample(1, image=torch.full((3, 4, 6), 0.1))])
    stored = Stored.read(source)
    assert stored.tensors["image"].dtype is torch.float32
    assert same(stored[0], source[0]) and same(stored[1], source[1])


@settings(max_examples=50)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_any_depth_survives(values):
    source = Listed([sample(i, depth=torch.full((1, 4, 6), v)) for i, v in enumerate(values)])
    stored = Stored.read(source)
    assert all(same(stored[i], source[i]) for i in range(len(values)))


def test_every_level_of_an_8_bit_image_survives():
    image = (torch.arange(256).view(1, 16, 16).float() / 255).expand(3, 16, 16)
    source = Listed([{"image": image}])
    source.targets = {}
    stored = Stored.read(source)
    assert stored.tensors["image"].dtype is torch.uint8
    assert torch.equal(stored[0]["image"], image)


def test_a_batch_is_the_samples_stacked():
    source = Listed([sample(seed) for seed in range(6)])
    stored = Stored.read(source)
    for index in ([4, 1], torch.tensor([4, 1]), slice(1, 5, 3)):
        batch = stored[index]
        chosen = list(range(6))[index] if isinstance(index, slice) else [4, 1]
        for name, value in batch.items():
            assert torch.equal(value, torch.stack([source[i][name] for i in chosen]))


@pytest.mark.parametrize("index", [1, slice(0, 2), [0, 1]])
def test_who_changes_a_sample_does_not_change_the_data(index):
    stored = Stored.read(Listed([sample(0), sample(1)]))
    stored.tensors["segmentation"] = stored.tensors["segmentation"].long()
    before = {name: value.clone() for name, value in stored.tensors.items()}
    for value in stored[index].values():
        value.zero_()
    assert all(torch.equal(stored.tensors[name], before[name]) for name in before)


def test_it_ends_where_a_sequence_ends():
    stored = Stored.read(Listed([sample(0), sample(1)]))
    assert len(list(stored)) == 2
    with pytest.raises(IndexError, match="index 2 is out of range for 2 samples"):
        stored[2]


def test_what_does_not_fit_together_is_named():
    image = torch.zeros(2, 3, 4, 6, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"one entry for each target \['depth'\], got \['image'\]"):
        Stored({"image": image}, {"depth": Target("depth", ignore=0)})
    with pytest.raises(ValueError, match=r"as many samples, got {'image': 2, 'depth': 1}"):
        Stored({"image": image, "depth": torch.ones(1, 1, 4, 6)}, {"depth": Target("depth")})
    narrow = sample(1) | {"depth": torch.ones(1, 4, 5)}
    with pytest.raises(ValueError, match=r"'depth' of sample 1 has shape \(1, 4, 5\)"):
        Stored.read(Listed([sample(0), narrow]))
    with pytest.raises(ValueError, match="dataset is empty"):
        Stored.read(Listed([]))


IMAGES = {
    "age": Target("number", unit="years"),
    "place": Target("class", ("inside", "outside", "unsure")),
    "Smiling": Target("attribute"),
    "depth": Target("depth", ignore=0),
    "segmentation": Target("classes", ("bed", "wall")),
}


def labelled(age, place, smiling, depth, segmentation):
    return {
        "image": torch.zeros(3, 2, 2),
        "age": torch.tensor(age),
        "place": torch.tensor(place),
        "Smiling": torch.tensor(smiling),
        "depth": torch.full((1, 2, 2), depth),
        "segmentation": torch.full((2, 2), segmentation),
    }


def test_missing_labels_survive_in_the_smallest_types():
    full = labelled(34.0, 2, 1, 2.5, 1)
    missing = labelled(*(target.missing for target in IMAGES.values()))
    source = Listed([full, missing, full])
    source.targets = IMAGES
    stored = Stored.read(source)
    for i, expected in enumerate(source):
        for name, value in stored[i].items():
            assert value.dtype is expected[name].dtype, name
            assert torch.allclose(value, expected[name], 0, 0, equal_nan=True), name
    types = {name: value.dtype for name, value in stored.tensors.items() if name != "image"}
    assert set(types.values()) == {torch.float16, torch.int8}
    assert {stored[[0, 1]][name].shape for name in ("age", "place", "Smiling")} == {(2,)}


@settings(max_examples=50)
@given(st.lists(st.floats(width=32), min_size=1))
def test_any_number_survives_nan_and_infinity_too(values):
    source = Listed([{"image": torch.zeros(3, 1, 1), "age": torch.tensor(v)} for v in values])
    source.targets = {"age": Target("number")}
    stored = Stored.read(source)[:]["age"]
    assert torch.equal(stored.isnan(), torch.tensor(values).isnan())
    assert torch.equal(stored.nan_to_num(0), torch.tensor(values).nan_to_num(0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64])
def test_numbers_are_stored_in_any_type_and_are_no_fractions_of_255(dtype):
    ages = torch.tensor([34, 0, 255], dtype=dtype)
    stored = Stored({"image": torch.zeros(3, 3, 1, 1), "age": ages}, {"age": Target("number")})
    assert same({"age": stored[:]["age"]}, {"age": torch.tensor([34.0, 0.0, 255.0])})


def test_kinds_of_whole_images_are_told_apart():
    entries = {name: torch.zeros(2) for name in ("age", "place", "Smiling", "share")}
    targets = {name: IMAGES.get(name, Target("number")) for name in entries}
    stored = Stored({"image": torch.zeros(2, 3, 4, 6), **entries}, targets)
    text = "image 3x4x6, age in years, place 3 classes of images, share, 1 attribute"
    assert repr(stored) == f"Stored(2 samples: {text})"


@pytest.mark.parametrize(
    ("kind", "dense", "dtype", "missing"),
    [
        ("classes", True, torch.int64, -1),
        ("depth", True, torch.float32, torch.nan),
        ("disparity", True, torch.float32, torch.nan),
        ("normal", True, torch.float32, torch.nan),
        ("class", False, torch.int64, -1),
        ("attribute", False, torch.int64, -1),
        ("number", False, torch.float32, torch.nan),
    ],
)
def test_every_kind_has_a_type_and_a_missing_label(kind, dense, dtype, missing):
    target = Target(kind, ("a", "b") if "class" in kind else ())
    assert (target.dense, target.dtype) == (dense, dtype)
    assert target.missing == pytest.approx(missing, nan_ok=True)


def test_a_target_says_what_it_is():
    with pytest.raises(ValueError, match=r"kind must be one of .* got 'edges'"):
        Target("edges")
    for kind in ("classes", "class", "words"):
        with pytest.raises(ValueError, match=f"got \\(\\) for kind '{kind}'"):
            Target(kind)
    for kind in ("depth", "number", "attribute"):
        with pytest.raises(ValueError, match=f"for kind '{kind}'"):
            Target(kind, ("near", "far"))
    with pytest.raises(ValueError, match=r"unit is that of .* got 'cm' for kind 'disparity'"):
        Target("disparity", unit="cm")


@pytest.mark.parametrize(
    ("kind", "ignore", "takes"),
    [
        ("classes", 255, "-1 or None"),
        ("words", 0, "-1 or None"),
        ("normal", -1, "0 or None"),
        ("class", -1, "None"),
        ("attribute", 0, "None"),
        ("number", 0, "None"),
    ],
)
def test_kinds_with_a_missing_label_of_their_own_take_no_other(kind, ignore, takes):
    with pytest.raises(ValueError, match=f"ignore must be {takes} for kind '{kind}', got {ignore}"):
        Target(kind, ("a", "b") if kind in ("classes", "class", "words") else (), ignore)
