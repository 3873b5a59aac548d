"""Drawn faces: the rules and odds of attributes, and where each shows."""

import hashlib
import itertools

import pytest
import torch

from tssbn.data.synthetic.faces import ATTRIBUTES, REGIONS, Faces, draw, faces, make
from tssbn.data.synthetic.faces.face import Face
from tssbn.data.synthetic.faces.labels import TABLE, sample
from tssbn.data.synthetic.faces.paint import AREAS, TRAITS, paint
from tssbn.data.target import Target

SMALL = Faces(size=32)
HAIR_COLORS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")


@pytest.fixture(scope="module")
def data():
    return faces("train", n=800, recipe=SMALL)


@pytest.fixture(scope="module")
def test_data():
    return faces("test", n=300, recipe=SMALL)


@pytest.fixture(scope="module")
def many():
    """Attributes of 40,000 faces."""
    chance = torch.rand(40_000, len(ATTRIBUTES), generator=torch.Generator().manual_seed(1))
    return dict(zip(ATTRIBUTES, sample(chance).bool().unbind(1), strict=True))


def stacked(data):
    return torch.stack([data.tensors[name] for name in ATTRIBUTES], 1)


def switchable(labels, name):
    """The labels with everything taken away that excludes ``name`` or that it excludes."""
    labels = labels.clone()
    for one, odds in TABLE.items():
        for other in odds.never_with:
            if name in (one, other):
                labels[:, ATTRIBUTES.index(other if one == name else one)] = 0
    return labels


def correlations(labels):
    return torch.corrcoef(torch.stack([labels[name] for name in ATTRIBUTES]).double())


# ------------------------------------------- attributes


def test_attributes_are_celebas_without_those_that_judge_or_show_nowhere():
    pytest.importorskip("PIL")
    from tssbn.data.real import celeba

    left_out = {"Attractive", "Male", "Young", "Blurry"}
    assert tuple(name for name in celeba.ATTRIBUTES if name not in left_out) == ATTRIBUTES


def test_every_attribute_is_in_one_region():
    assert sorted(itertools.chain(*REGIONS.values())) == list(ATTRIBUTES)
    assert set(REGIONS) == set(AREAS)
    assert min(len(names) for names in REGIONS.values()) >= 2


def test_the_rules_hold(many):
    has = many
    colors = torch.stack([has[name] for name in HAIR_COLORS]).sum(0)
    assert colors.max() == 1 and colors.min() == 0
    assert not (has["Straight_Hair"] & has["Wavy_Hair"]).any()
    for name in (*HAIR_COLORS, "Straight_Hair", "Wavy_Hair", "Bangs", "Receding_Hairline"):
        assert not (has["Bald"] & has[name]).any()
    for name in ("Bald", "Bangs", "Receding_Hairline"):
        assert not (has["Wearing_Hat"] & has[name]).any()
    assert not (has["Bangs"] & has["Receding_Hairline"]).any()
    for name in ("5_o_Clock_Shadow", "Goatee", "Mustache"):
        assert not (has["No_Beard"] & has[name]).any()


def test_the_table_can_be_drawn_by_lot():
    """Causes come first, what excludes an attribute excludes each other, chances are chances."""
    order = list(TABLE)
    for name, odds in TABLE.items():
        before = order[: order.index(name)]
        assert set(odds.leans) | set(odds.never_with) <= set(before)
        for one, other in itertools.combinations(odds.never_with, 2):
            assert other in TABLE[one].never_with or one in TABLE[other].never_with
        chance = odds.share / (1 - sum(TABLE[other].share for other in odds.never_with))
        lean = {(cause, has): by * (has - TABLE[cause].share) for cause, by in odds.leans.items()
                for has in (0, 1)}  # fmt: skip
        least = chance + sum(min(lean[cause, 0], lean[cause, 1]) for cause in odds.leans)
        most = chance + sum(max(lean[cause, 0], lean[cause, 1]) for cause in odds.leans)
        assert 0 <= least <= most <= 1, name


def test_the_shares_are_those_of_the_table_and_none_is_rare(many):
    for name, odds in TABLE.items():
        share = many[name].double().mean().item()
        assert 0.05 <= share <= 0.95
        assert share == pytest.approx(odds.share, abs=0.02), name


def test_the_leans_are_those_of_the_table(many):
    """Where an attribute has one cause, the difference that it makes."""
    has, seen = many, 0
    for name, odds in TABLE.items():
        if len(odds.leans) != 1:
            continue
        ((cause, lean),) = odds.leans.items()
        free = torch.ones_like(has[name])
        for other in odds.never_with:
            free &= ~has[other]
        with_it = has[name][free & has[cause]].double().mean()
        without = has[name][free & ~has[cause]].double().mean()
        assert (with_it - without).item() == pytest.approx(lean, abs=0.03), name
        seen += 1
    assert seen > 10


def test_labels_alone_suggest_other_groups_than_the_regions(many):
    strength = correlations(many).abs().fill_diagonal_(0)
    nearest = [ATTRIBUTES[i] for i in strength.argmax(1)]
    elsewhere = [
        one for one, two in zip(ATTRIBUTES, nearest, strict=True)
        if TABLE[one].region != TABLE[two].region
    ]  # fmt: skip
    assert len(elsewhere) > len(ATTRIBUTES) / 2, "most are closest to one of another region"
    within = [
        strength[ATTRIBUTES.index(one), ATTRIBUTES.index(two)] < 0.05
        for names in REGIONS.values() for one, two in itertools.combinations(names, 2)
    ]  # fmt: skip
    assert sum(within) > len(within) / 2, "most pairs of one region are nearly independent"


# ------------------------------------------- what samples hold


def test_samples_have_the_declared_shapes_and_types():
    data = faces("val", n=3)
    assert list(data.targets) == list(ATTRIBUTES)
    assert set(data.targets.values()) == {Target("attribute")}
    assert data.tensors["image"].dtype is torch.uint8
    assert data.tensors["Bald"].dtype is torch.int8 and data.tensors["Bald"].shape == (3,)
    one = data[0]
    assert one["image"].shape == (3, 64, 64) and one["image"].dtype is torch.float32
    assert 0 <= one["image"].min() < one["image"].max() <= 1
    assert one["Bald"].dtype is torch.int64 and one["Bald"].shape == ()


def test_the_first_faces_are_the_same_for_every_length(data):
    few = faces("train", n=100, recipe=SMALL)
    for name, value in few.tensors.items():
        assert torch.equal(value, data.tensors[name][:100])


def test_the_splits_and_seeds_have_no_face_in_common(data, test_data):
    other = faces("train", n=100, seed=1, recipe=SMALL), faces("val", n=100, recipe=SMALL)
    images = [part.tensors["image"].flatten(1) for part in (data, test_data, *other)]
    assert len(torch.cat(images).unique(dim=0)) == 800 + 300 + 100 + 100


def test_a_linear_probe_sees_attributes_and_not_all_of_them(data, test_data):
    """Ridge regression on the pixels, by the mean of the two classes' accuracies."""
    images = [part.tensors["image"].flatten(1).double() / 255 for part in (data, test_data)]
    x, x_test = (torch.cat([i - images[0].mean(0), i[:, :1] * 0 + 1], 1) for i in images)
    y, y_test = stacked(data).double(), stacked(test_data).bool()
    kernel = x @ x.T
    weight = x.T @ torch.linalg.solve(kernel + 20 * torch.eye(len(x)), y - y.mean(0))
    found = x_test @ weight > 0
    right = (found & y_test).sum(0) / y_test.sum(0) + (~found & ~y_test).sum(0) / (~y_test).sum(0)
    accuracy = dict(zip(ATTRIBUTES, (right / 2).tolist(), strict=True))
    assert accuracy["Wearing_Hat"] > 0.75 and accuracy["No_Beard"] > 0.8
    assert sum(accuracy.values()) / len(accuracy) > 0.65  # guessing: 0.5
    assert sum(value < 0.8 for value in accuracy.values()) > 18, "the set is too easy"


# ------------------------------------------- pictures


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_changes_every_face_and_only_in_its_region(name):
    n, seed = 10, 100 + ATTRIBUTES.index(name)
    people = make._people("train", n, seed)
    labels = sample(people[:, TRAITS:])
    labels = switchable(labels, name)
    pictures = []
    for value in (0, 1):
        labels[:, ATTRIBUTES.index(name)] = value
        pictures.append(draw(labels, "train", seed))
    changed = (pictures[0] != pictures[1]).any(1)
    assert changed.flatten(1).sum(1).min() >= 10

    nothing = {name: torch.zeros(n) for name in ATTRIBUTES}
    face = Face(64, people[:, :TRAITS], torch.zeros(n, 4, 64, 64), nothing)
    allowed = torch.zeros_like(changed)
    for left, top, right, bottom in AREAS[TABLE[name].region]:
        allowed |= (face.x > left) & (face.x < right) & (face.y > top) & (face.y < bottom)
    assert not (changed & ~allowed).any()
    assert allowed.float().mean() < 0.7, "the area says where"


def test_faces_are_drawn_from_their_labels(data):
    assert torch.equal(draw(stacked(data)[:50], recipe=SMALL), data.tensors["image"][:50])


def test_every_trait_is_used_once():
    nothing = {name: torch.zeros(1) for name in ATTRIBUTES}
    face = Face(16, torch.rand(1, TRAITS), torch.rand(1, 4, 16, 16), nothing)
    paint(face)
    with pytest.raises(StopIteration):
        face.between(0, 1)


# ------------------------------------------- the same everywhere


def digest(data):
    parts = (value.contiguous().numpy().tobytes() for value in data.tensors.values())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def test_threads_change_nothing(data, monkeypatch):
    monkeypatch.setattr(make, "CHUNK", 20 * 32 * 32)
    torch.set_num_threads(3)
    assert torch.equal(draw(stacked(data)[:100], recipe=SMALL), data.tensors["image"][:100])


def test_the_cache_holds_what_was_made(tmp_path, monkeypatch):
    monkeypatch.setenv("TSSBN_CACHE", str(tmp_path))
    made = faces("val", n=4, recipe=SMALL)
    monkeypatch.setattr(make, "draw", None)  # whatever is drawn now is an error
    kept = faces("val", n=4, recipe=SMALL)
    assert digest(kept) == digest(made)
    for other in (
        {"split": "test"}, {"n": 5}, {"seed": 1}, {"recipe": Faces(size=48)},
    ):  # fmt: skip
        with pytest.raises(TypeError):
            faces(**{"split": "val", "n": 4, "recipe": SMALL} | other)


def test_another_size_shows_the_same_people(data):
    labels = stacked(data)[:20]
    labels[:, ATTRIBUTES.index("Bald")] = 1  # hair is textured by the noise of the picture
    labels = switchable(labels, "Bald")
    labels[:, ATTRIBUTES.index("No_Beard")] = 1
    labels = switchable(labels, "No_Beard")
    large = draw(labels, recipe=Faces(size=64)).double()
    small = draw(labels, recipe=Faces(size=32)).double()
    pooled = torch.nn.functional.avg_pool2d(large, 2)
    same, others = ((pooled.roll(k, 0) - small).abs().mean() for k in (0, 1))
    assert same < 6 and others > 6 * same


def test_another_size_has_the_same_labels(data):
    small = faces("train", n=len(data), recipe=Faces(size=16))
    assert torch.equal(stacked(small), stacked(data))


# ------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "all"}, "split must be one of"),
        ({"n": 0}, "n must be an integer from 1 up, got 0"),
        ({"n": 2.0}, "n must be an integer from 1 up, got 2.0"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"seed": 2**27}, "seed must be an integer from 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        faces(**arguments)


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        ({"size": 8}, "size must be an integer from 16 up, got 8"),
        ({"size": 64.0}, "size must be an integer from 16 up, got 64.0"),
    ],
)
def test_bad_knobs(knob, message):
    with pytest.raises(ValueError, match=message):
        Faces(**knob)


def test_labels_that_no_face_can_have():
    labels = torch.zeros(3, len(ATTRIBUTES), dtype=torch.int64)
    labels[2, [ATTRIBUTES.index("Bald"), ATTRIBUTES.index("Bangs")]] = 1
    with pytest.raises(ValueError, match=r"no face has Bangs and Bald, labels\[2\] has both"):
        draw(labels)
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        draw(labels * 2)
    with pytest.raises(ValueError, match=r"shape \(N, 36\).*got \(3, 5\)"):
        draw(labels[:, :5])
