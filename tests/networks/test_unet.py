"""The U-Net and its benchmark have the sizes that are counted by hand."""

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")

import tssbn
from tssbn.benchmarks import find_benchmark
from tssbn.methods import find_method
from tssbn.networks.unet import UNet


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def test_the_parameters_counted_by_hand():
    down = [(3, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 96), (96, 96)]
    up = [(64 + 96, 64), (32 + 64, 32), (16 + 32, 16)]
    expected = sum(9 * before * after + 2 * after for before, after in down + up)
    assert parameters(UNet()) == expected == 337_872
    net = UNet(5)
    norms = [part.num_features for part in net.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms == [5, 5, 10, 10, 20, 20, 30, 30, 20, 10, 5] and net.width == 5


@pytest.mark.parametrize(("height", "width"), [(48, 64), (17, 9), (1, 1)])
def test_features_are_as_large_as_the_image(height, width):
    assert UNet(2).eval()(torch.rand(1, 3, height, width)).shape == (1, 2, height, width)


def test_the_benchmark_has_its_sizes():
    made = find_benchmark("rooms")()
    with torch.device("meta"):
        net = find_method("hps").build(made.network, {"segmentation": 4, "depth": 1, "normal": 3})
        single = find_method("stl").build(made.network, {"segmentation": 4, "depth": 1})
    heads = 16 * (4 + 1 + 3) + (4 + 1 + 3)
    assert parameters(net) == 337_872 + heads
    assert parameters(single) == 2 * 337_872 + 16 * 5 + 5
    assert made.recipe.epochs * 1600 // made.recipe.batch == 3000


def test_the_stem_is_the_one_that_is_proposed():
    made = find_benchmark("rooms")(filters=2)
    net = find_method("tssbn").build(made.network, {"a": 1, "b": 1})
    assert net.stem == made.network.stem
    assert tssbn.find_stem(tssbn.task_specific(UNet(2), ("a", "b"))) == made.network.stem


def test_splits_are_different_rooms():
    made = find_benchmark("rooms")(n=8, height=16, width=16)
    train, val, test = (made.data(split, None) for split in ("train", "val", "test"))
    assert [len(train), len(val), len(test)] == [8, 2, 2]
    images = [data[:2]["image"] for data in (train, val, test)]
    assert not any(a.equal(b) for a, b in zip(images, images[1:] + images[:1], strict=True))
    assert train.targets["segmentation"].classes == ("floor", "structure", "furniture", "props")
