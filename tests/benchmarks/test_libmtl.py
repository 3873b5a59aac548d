"""The benchmarks of table 2: their weights, sizes and metrics, and runs on a few small files."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("torchvision")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from torchvision.models.resnet import Bottleneck, ResNet

from tssbn.benchmarks import find_benchmark, libmtl
from tssbn.cost import parameters
from tssbn.data.real.nyuv2 import NYUv2
from tssbn.methods import find_method
from tssbn.networks.deeplab import FILES, DeepLabHead, dilated_resnet, imagenet
from tssbn.training.batches import sha256
from tssbn.training.loop import train
from tssbn.training.run import Run

SIZE = (32, 48)
SMALL = partial(dilated_resnet, (1, 1, 1, 1))
NAMES = ("nyuv2_libmtl", "cityscapes_libmtl")


@pytest.fixture(scope="module")
def theirs():
    """A short ResNet of torchvision, whose last two stages dilate."""
    torch.manual_seed(0)
    whole = ResNet(
        Bottleneck, [1, 1, 1, 1], num_classes=2, replace_stride_with_dilation=[False, True, True]
    )
    for module in whole.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
    return whole


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def save(state, folder, name=FILES[0]):
    torch.save(state, folder / name)


@pytest.mark.parametrize("name", FILES)
def test_a_trunk_with_the_weights_of_torchvision_is_its_network(name, theirs, folder):
    save(theirs.state_dict(), folder, name)
    trunk = libmtl.network(*SIZE, "file", SMALL).trunk().double().eval()
    x, parts = torch.rand(1, 3, *SIZE).double(), theirs.double().eval()
    y = parts.maxpool(parts.relu(parts.bn1(parts.conv1(x))))
    for part in parts.layer1, parts.layer2, parts.layer3, parts.layer4:
        y = part(y)
    theirs.float()
    torch.testing.assert_close(trunk(x), y, rtol=1e-9, atol=1e-9)


def test_older_files_count_no_batches(theirs, folder):
    state = {k: v for k, v in theirs.state_dict().items() if "num_batches_tracked" not in k}
    save(state, folder)
    weights = imagenet(SMALL)
    assert weights.keys() == SMALL().state_dict().keys()
    assert int(weights["bn1.num_batches_tracked"]) == 0


def test_weights_of_another_network_are_refused(theirs, folder):
    with pytest.raises(FileNotFoundError, match=r"weights/resnet50-19c8e357\.pth or weights/"):
        imagenet(SMALL)
    save(theirs.state_dict() | {"layer1.0.conv1.weight": torch.zeros(1)}, folder)
    with pytest.raises(ValueError, match=r"layer1.0.conv1.weight of .* is \(1,\), of the trunk it"):
        imagenet(SMALL)
    save(theirs.state_dict() | {"layer5.weight": torch.zeros(1)}, folder)
    with pytest.raises(ValueError, match=r"layer5.weight of .* of the trunk it is not there"):
        imagenet(SMALL)
    save({k: v for k, v in theirs.state_dict().items() if k != "bn1.bias"}, folder)
    with pytest.raises(ValueError, match=r"bn1.bias of .* is missing, of the trunk it is \(64,\)"):
        imagenet(SMALL)
    with pytest.raises(ValueError, match="pretrained='x' must be one of 'file' for"):
        find_benchmark("nyuv2_libmtl")(pretrained="x")
    with pytest.raises(ValueError, match="height=30 and width=48 must be multiples of 8"):
        find_benchmark("nyuv2_libmtl")(height=30, width=48)


@pytest.mark.parametrize("name", NAMES)
def test_protocol(name):
    made = find_benchmark(name)(pretrained="none")
    recipe, small = made.recipe, name == "cityscapes_libmtl"
    assert (recipe.epochs, recipe.batch, recipe.lr) == (200, 64 if small else 8, 1e-4)
    assert [recipe.factor(epoch) for epoch in (0, 99, 100, 199)] == [1, 1, 0.5, 0.5]
    assert recipe.weight_decay == 1e-5 and recipe.drop_last and made.augment is None
    assert made.network.example.shape == ((2, 3, 128, 256) if small else (2, 3, 288, 384))
    with torch.device("meta"):
        net = find_method("hps").build(
            made.network, dict(zip("abc", (7, 1) if small else (13, 1, 3), strict=False))
        )
    assert parameters(net) == (55_760_968 if small else 71_888_721)
    assert net.heads["a"][0].project[3].p == 0.5
    assert made.baseline == "hps" and set(made.paper) >= {"mmoe", "ple", "tssbn"}


def test_gates_of_experts_are_libmtls_here_and_pooled_elsewhere():
    assert Run(NAMES[0], "ple", settings={"pretrained": "none"}).options["gate"] == "image"
    batches = [
        Run(name, "ple", settings={"pretrained": "none"}).benchmark.recipe.batch for name in NAMES
    ]
    assert batches == [4, 64]
    assert "gate" not in Run("rooms", "mmoe").options


def arrays(seed, size, label):
    random = np.random.default_rng(seed)
    normal = 0.2 * random.normal(size=(*size, 3)) - (0, 0, 1)  # towards the camera
    return {
        "image": random.random((*size, 3)),
        label: random.integers(-1, 7, size),
        "depth": random.uniform(0.1, 0.9, (*size, 1)),
        "normal": normal / np.linalg.norm(normal, axis=2, keepdims=True),
    }


def write(root, size, label):
    for split, count in (("train", 5), ("val", 2)):
        for i in range(count):
            for name, value in arrays(i + 10 * (split == "val"), size, label).items():
                (root / split / name).mkdir(parents=True, exist_ok=True)
                np.save(root / split / name / f"{i}.npy", value.astype(np.float32))
    return root


def small(name, size):
    """The benchmark on a small network."""
    made = find_benchmark(name)(pretrained="none")
    trunk = partial(dilated_resnet, (1, 1, 1, 1), (4, 4, 8, 8))
    head = partial(DeepLabHead, inputs=32, width=4)
    return replace(made, network=libmtl.network(*size, "none", trunk, head))


@pytest.mark.parametrize("method", ["hps", "mmoe", "ple", "tssbn"])
def test_a_whole_run_on_nyuv2(method, tmp_path):
    root = write(tmp_path, SIZE, "label")
    settings = {"epochs": 2, "batch": 2, "report": "libmtl"}
    record = train(
        Run(small("nyuv2_libmtl", SIZE), method, settings=settings), root=root, accelerator="cpu"
    ).record
    assert record["finished"] and record["pretrained"] == "none"
    assert record["metric"] == {"segmentation": "miou", "depth": "absolute", "normal": "mean"}
    assert record["recipe"]["report"] == "libmtl" and record["data"]["kind"] == "real subset"


def test_a_whole_run_on_cityscapes(tmp_path):
    root = write(tmp_path, (128, 256), "label")
    settings = {"epochs": 1, "batch": 2}
    run = Run(small("cityscapes_libmtl", (128, 256)), "dselect-k", settings=settings)
    record = train(run, root=root, accelerator="cpu").record
    assert list(record["epochs"][0]["test"]) == ["segmentation", "depth"]
    assert record["epochs"][0]["penalty"] >= 0


def test_the_hash_of_the_weights_is_in_the_saved_run(theirs, folder, tmp_path):
    save(theirs.state_dict(), folder)
    made = small("nyuv2_libmtl", SIZE)
    head = partial(DeepLabHead, width=4)
    made = replace(made, network=libmtl.network(*SIZE, "file", SMALL, head))
    root = write(tmp_path / "nyuv2", SIZE, "label")
    run = Run(made, "hps", settings={"epochs": 1, "batch": 2})
    record = train(run, root=root, accelerator="cpu", deadline=0).record  # without an epoch
    assert record["pretrained"] == sha256(imagenet(SMALL))


def test_errors_are_averaged_as_libmtl_does():
    depth, normal = (libmtl.tasks(NYUv2.targets)[name].metric() for name in ("depth", "normal"))
    assert depth.pooling == "sample"
    assert (normal.pooling, normal.mask) == ("pixel", "sum")
