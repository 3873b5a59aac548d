"""Synthetic rooms: labels by their definitions, and what each argument changes."""

import hashlib
import math
from dataclasses import replace

import pytest
import torch
from scenery import dice, furnished_rooms, seen

from tssbn.data.synthetic.make import SPLITS
from tssbn.data.synthetic.scenes import Rooms, rooms
from tssbn.data.synthetic.scenes import make as making
from tssbn.data.synthetic.scenes.interior import CLASSES
from tssbn.data.synthetic.scenes.labels import (
    CITYSCAPES_PARTS,
    HUMAN_PARTS,
    PARTS,
    hidden,
    to_cityscapes,
    to_human,
)
from tssbn.data.synthetic.scenes.rooms import GROUPS, TARGETS, encode, layout
from tssbn.data.synthetic.scenes.view import look

TASKS = tuple(TARGETS)
SMALL = Rooms(height=48, width=64)


@pytest.fixture(scope="module")
def many():
    """50 small rooms with all tasks."""
    torch.set_num_threads(1)
    return rooms(n=50, recipe=SMALL, tasks=TASKS)


def test_boundaries_are_label_changes(many):
    """Pixel by pixel, from the definition."""
    view = seen(furnished_rooms(2, seed=4))
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
    view = seen(furnished_rooms(12, seed=6))
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
        rooms(n=3, recipe=replace(SMALL, zoom=0.5), tasks=TASKS)


def test_a_smaller_set_is_the_beginning_of_a_larger_one(many):
    few = rooms(n=21, recipe=SMALL, tasks=TASKS)
    for name, value in few.tensors.items():
        assert torch.equal(value, many.tensors[name][:21]), name


def test_splits_and_seeds_differ(many):
    first = {digest(rooms(split, n=1, seed=seed, recipe=SMALL)) for split in SPLITS
             for seed in (0, 1)}  # fmt: skip
    assert len(first) == 6
    images = many.tensors["image"].flatten(1)
    assert len(images.unique(dim=0)) == len(images)


def test_zoom_changes_the_focal_length_and_nothing_in_the_room(monkeypatch):
    taken = {}

    def watched(scenes, *rest):
        taken.setdefault(zoom, []).extend(scenes)
        return look(scenes, *rest)

    monkeypatch.setattr(making, "look", watched)
    for zoom in (0.0, 0.3):
        rooms(n=30, seed=77, recipe=Rooms(height=16, width=16, zoom=zoom))
    ratio = []
    for a, b in zip(taken[0.0], taken[0.3], strict=True):
        assert a == replace(b, camera=b.camera._replace(focal=a.camera.focal))
        ratio.append(b.camera.focal / a.camera.focal)
    assert 1 / 1.3 <= min(ratio) < 0.85 and 1.15 < max(ratio) <= 1.3


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
        ({"zoom": math.nan}, "zoom must be between 0 and 1, got nan"),
        ({"classes": 7}, "classes must be 13 or 4, got 7"),
        ({"people": 2}, "people must be between 0 and 1, got 2"),
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
