"""Data sets of different tasks as one, and one loader for each: what a network learns from."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

import tssbn
from tssbn.data.concatenated import Concatenated
from tssbn.data.stored import Stored
from tssbn.data.target import Target

PHOTOS = {"age": Target("number", unit="years"), "smile": Target("attribute")}
ROOMS = {
    "parts": Target("classes", ("bed", "wall")),
    "depth": Target("depth", ignore=0),
    "normal": Target("normal"),
}


def photos(n=3):
    labels = {"age": torch.full((n,), 34.0), "smile": torch.ones(n, dtype=torch.int64)}
    return Stored({"image": torch.rand(n, 3, 4, 6), **labels}, PHOTOS)


def rooms(n=2):
    maps = {
        "parts": torch.ones(n, 4, 6, dtype=torch.int64),
        "depth": torch.ones(n, 1, 4, 6),
        "normal": torch.tensor([0.0, 0.0, -1.0]).view(3, 1, 1).repeat(n, 1, 4, 6),
    }
    return Stored({"image": torch.rand(n, 3, 4, 6) + 5, **maps}, ROOMS)


def test_each_sample_has_its_own_labels_and_the_others_are_missing():
    both = Concatenated([photos(), Subset(rooms(5), [1, 3])])
    assert both.targets == PHOTOS | ROOMS and len(both) == 5
    for i, own in ((0, PHOTOS), (2, PHOTOS), (3, ROOMS), (-1, ROOMS)):
        sample = both[i]
        assert list(sample) == ["image", *both.targets]
        for name, target in both.targets.items():
            value = sample[name]
            assert value.dtype is target.dtype and value.shape == target.shape(4, 6)
            gone = value.isnan() if target.dtype is torch.float32 else value == -1
            assert gone.all() if name not in own else not gone.any()


def test_a_sentence_without_labels_has_a_missing_one_at_each_piece():
    tagged, parsed = (
        Stored(
            {"image": torch.rand(2, 5), name: torch.zeros(2, 5, dtype=torch.int64)},
            {name: Target("words", ("a", "b"), ignore=-1)},
        )
        for name in ("tag", "relation")
    )
    both = Concatenated([tagged, parsed])
    batch = next(iter(DataLoader(both, batch_size=4)))
    assert batch["tag"].tolist() == 2 * [[0] * 5] + 2 * [[-1] * 5]
    assert batch["relation"].tolist() == 2 * [[-1] * 5] + 2 * [[0] * 5]


def test_it_is_decoded_and_batched_like_any_other():
    both = Concatenated([photos(), rooms()])
    stored = Stored.read(both)
    (batch,) = DataLoader(both, batch_size=5)
    for name, value in stored[:].items():
        assert torch.equal(value.nan_to_num(-7), batch[name].nan_to_num(-7))


def test_targets_of_one_name_must_agree():
    other = Stored(
        {"image": torch.rand(1, 3, 4, 6), "age": torch.ones(1)}, {"age": Target("depth")}
    )
    with pytest.raises(ValueError, match=r"different targets 'age': .*years.* and .*'depth'"):
        Concatenated([photos(), other])
    with pytest.raises(TypeError, match="dataset must have targets"):
        Concatenated([photos(), torch.utils.data.TensorDataset(torch.rand(2))])


def network():
    trunk = nn.Sequential(nn.BatchNorm2d(3, momentum=1.0), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    heads = {"smile": nn.Linear(3, 1), "depth": nn.Linear(3, 1)}
    return tssbn.MultiTask(tssbn.task_specific(trunk, list(heads)), heads)


def test_statistics_are_of_ones_own_images_by_loaders_and_of_all_images_concatenated():
    sets = {"smile": photos(), "depth": rooms()}
    means = {task: data[:]["image"].mean((0, 2, 3)) for task, data in sets.items()}
    apart = network()
    for task, data in sets.items():
        apart(data[:]["image"], tasks=[task])
    for task, running in zip(apart.tasks, apart.trunk[0].running_mean, strict=True):
        assert torch.allclose(running, means[task], rtol=1e-5)
    together = network()
    (batch,) = DataLoader(Concatenated(sets.values()), batch_size=5)
    together(batch["image"])
    mixture = (3 * means["smile"] + 2 * means["depth"]) / 5
    for running in together.trunk[0].running_mean:
        assert torch.allclose(running, mixture, rtol=1e-5)
