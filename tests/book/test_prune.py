"""The pruning study on CIFAR-10: its data, its methods, and runs that are stopped and go on."""

import importlib
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("torch_pruning")
pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

from PIL import Image

from tssbn import pruning
from tssbn.records import unpack_gates
from tssbn.training import checkpoint

EXPERIMENTS = Path(__file__).resolve().parents[2] / "book/studies"
NAMES = ("cifar", "slimming", "prune")
CLASSES = ("bird", "cat", "ship")
TRAIN, TEST = 21, 6  # images


class Tiny(nn.Module):
    """Two convolutions, wide enough that half and nine tenths are different cuts."""

    prunable = ("features.1", "features.4")

    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 20, 3, 2, 1), nn.BatchNorm2d(20), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.classifier = nn.Linear(20, classes)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.constant_(layer.weight, 0.5)

    def forward(self, x):
        return self.classifier(self.features(x))


@pytest.fixture(autouse=True, scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXPERIMENTS)
        modules = {name: importlib.import_module(name) for name in NAMES}
        slimming = modules["slimming"]
        patch.setitem(slimming.NETWORKS, "tiny", Tiny)
        patch.setitem(slimming.PENALTIES, ("tiny", "rni"), {"weight": 1e-3, "shift": 1.0})
        patch.setitem(slimming.PENALTIES, ("tiny", "l1"), {"weight": 1e-3})
        patch.setattr(modules["prune"], "BATCH", 8)
        yield modules
        for name in NAMES:
            del sys.modules[name]


@pytest.fixture
def cifar(scripts):
    return scripts["cifar"]


@pytest.fixture
def slimming(scripts):
    return scripts["slimming"]


@pytest.fixture
def prune(scripts):
    return scripts["prune"]


def fill(root, size=32):
    """Made images, those of a class around a colour of its own."""
    random = np.random.default_rng(0)
    for split, count in ("train", TRAIN // 3), ("test", TEST // 3):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 120, (size, size, 3), np.uint8)
                pixels[..., label] += 100
                Image.fromarray(pixels).save(folder / f"{i:04}.png")
            (folder / "._0000.png").write_bytes(b"\0\5\x16\7")  # macOS leaves these
        (root / split / ".cache").mkdir()
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("cifar10"))


def study(prune, setting, root):
    data = sys.modules["cifar"].read(root)
    return prune.Study(setting, data, torch.device("cpu"), note="")


# Data


def test_the_images_are_those_of_the_files(cifar, root):
    splits = cifar.read(root)
    assert {name: len(images) for name, images in splits.items()} == {"train": TRAIN, "test": TEST}
    train = splits["train"]
    assert train.classes == CLASSES and train.labels.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    with Image.open(root / "train/cat/0003.png") as opened:
        assert np.array_equal(train.pixels[10].numpy(), np.array(opened))
    assert train.digest() == cifar.read(root)["train"].digest() != splits["test"].digest()


def test_the_published_files_are_read_too(cifar, tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    planes = {}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        planes[name] = rng.integers(0, 256, (2, 3, 32, 32), np.uint8)
        content = {"data": planes[name].reshape(2, -1), "labels": [7, 2]}
        (folder / name).write_bytes(pickle.dumps(content))
    names = {"label_names": [f"class {i}" for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names))
    # Their checksums are torchvision's business; these files are others.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    splits = cifar.read(tmp_path)
    assert len(splits["train"]) == 10 and len(splits["test"]) == 2
    assert splits["train"].labels.tolist() == [7, 2] * 5
    assert splits["test"].classes[7] == "class 7"
    expected = planes["data_batch_2"].transpose(0, 2, 3, 1)
    assert np.array_equal(splits["train"].pixels[2:4].numpy(), expected)
    assert splits["train"].pixels.dtype == torch.uint8


def test_many_images_are_decoded_in_several_processes_in_the_same_order(cifar, root, monkeypatch):
    alone = cifar.read(root)["train"]
    monkeypatch.setattr(cifar, "CHUNK", 11)
    monkeypatch.setattr(cifar, "workers", lambda: 2)
    assert torch.equal(cifar.read(root)["train"].pixels, alone.pixels)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda root: (root / "test").rename(root / "val"), FileNotFoundError, "test is no folder"),
        (
            lambda root: [(root / "train" / name).rename(root / name) for name in CLASSES],
            FileNotFoundError,
            "train has no folders",
        ),
        (
            lambda root: [file.unlink() for file in (root / "train/cat").iterdir()],
            FileNotFoundError,
            r"train/cat has no image \(.png",
        ),
        (
            lambda root: (root / "test/cat").rename(root / "test/dog"),
            ValueError,
            r"train are \('bird', 'cat', 'ship'\), those of test \('bird', 'dog', 'ship'\)",
        ),
        (
            lambda root: Image.new("RGB", (32, 16)).save(root / "train/cat/0001.png"),
            ValueError,
            "train/cat/0001.png has 16x32 pixels, expected 32x32",
        ),
        (
            lambda root: (root / "train/cat/0001.png").write_bytes(b"no image"),
            ValueError,
            "train/cat/0001.png",
        ),
    ],
)
def test_what_is_wrong_with_the_folders_is_named(cifar, tmp_path, spoil, error, words):
    fill(tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=words):
        cifar.read(tmp_path)


def test_crops_and_flips_are_those_of_single_images(cifar, root):
    pixels = cifar.read(root)["train"].pixels
    random = torch.Generator().manual_seed(1)
    top, left = torch.randint(9, (2, TRAIN), generator=random)
    flip = torch.arange(TRAIN) % 2 == 1
    cropped = cifar.cropped(pixels, top, left, flip)
    for image, y, x, flipped, found in zip(pixels, top, left, flip, cropped, strict=True):
        black = torch.zeros(40, 40, 3, dtype=torch.uint8)
        black[4:36, 4:36] = image
        expected = black[y : y + 32, x : x + 32]
        assert torch.equal(found, expected.flip(1) if flipped else expected)


def test_all_crops_are_drawn_and_every_other_image_is_flipped(cifar, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        cifar, "cropped", lambda pixels, *draws: drawn.update(zip("ylf", draws, strict=True))
    )
    cifar.augmented(torch.empty(4000, 0), torch.Generator().manual_seed(0))
    for offset in "yl":
        assert drawn[offset].bincount().tolist() == pytest.approx([4000 / 9] * 9, rel=0.2)
    assert not torch.equal(drawn["y"], drawn["l"])
    assert drawn["f"].float().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_images_are_normalised_as_torchvision_does(cifar, root, form):
    from torchvision.transforms.functional import normalize

    pixels = cifar.read(root)["test"].pixels
    found = cifar.Normalise(torch.device("cpu"), form)(pixels)
    expected = normalize(pixels.permute(0, 3, 1, 2) / 255, cifar.MEAN, cifar.STD)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=form)


# Methods


@pytest.mark.parametrize("network", ["tiny", "vgg16", "resnet56"])
def test_filters_start_alike_with_every_method(slimming, network):
    nets = {m: slimming.build(slimming.Setting(network, m, 3), 10) for m in slimming.SCOPES}
    rni, l1, uniform = (dict(net.named_parameters()) for net in nets.values())
    filters = {name for name, value in l1.items() if value.ndim > 1}
    assert filters and filters == {name for name, value in rni.items() if value.ndim > 1}
    for name in filters:
        assert torch.equal(rni[name], l1[name]) and torch.equal(uniform[name], l1[name])
    gates = torch.cat([value for name, value in rni.items() if name.endswith("gamma")])
    scales = torch.cat([nets["l1"].get_submodule(name).weight for name in nets["l1"].prunable])
    assert len(gates) >= len(scales) and (scales == 0.5).all()
    if network == "vgg16":
        assert len(gates) == 4224
        assert abs(gates.mean()) < 0.05 and abs(gates.std() - 1) < 0.05  # N(0, 1)
    other = dict(slimming.build(slimming.Setting(network, "rni", 4), 10).named_parameters())
    assert not any(torch.equal(rni[name], other[name]) for name in filters)


def test_the_recipes_are_those_of_the_official_code(slimming):
    for network, method, known in (
        ("vgg16", "rni", {"weight": 1e-3, "shift": 3}),
        ("vgg16", "l1", {"weight": 1e-4}),
        ("vgg16", "uniform", None),
        ("resnet56", "rni", {"weight": 1e-4, "shift": 0}),
        ("resnet56", "l1", {"weight": 1e-5}),
    ):
        setting = slimming.Setting(network, method)
        assert setting.recipe == {
            "epochs": 160,
            "batch": 64,
            "lr": 0.1,
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "multiplier": 10 if method == "rni" else 1,
            "penalty": known,
            "scope": "local" if method == "uniform" else "global",
            "shares": (0.5, 0.9),
            "least": 3,
        }


@pytest.mark.parametrize("method", ["rni", "l1", "uniform"])
def test_groups_and_rates_of_the_optimiser(slimming, method):
    setting = slimming.Setting("tiny", method, epochs=8)
    net = slimming.build(setting, 3)
    sgd, schedule = slimming.optimiser(net, setting)
    expected = [(0.1, 1e-4)] + [(1.0, 0.0)] * (method == "rni")
    assert [(group["lr"], group["weight_decay"]) for group in sgd.param_groups] == expected
    assert all(group["momentum"] == 0.9 and group["nesterov"] for group in sgd.param_groups)
    held = [parameter for group in sgd.param_groups for parameter in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in net.parameters()}
    if method == "rni":
        gates = {id(value) for name, value in net.named_parameters() if name.endswith("gamma")}
        assert {id(p) for p in sgd.param_groups[1]["params"]} == gates
    rates = []
    for _ in range(8):
        rates.append([group["lr"] for group in sgd.param_groups])
        sgd.step()
        schedule.step()
    start = torch.tensor([lr for lr, _ in expected])
    factors = torch.tensor([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    torch.testing.assert_close(torch.tensor(rates), factors[:, None] * start)


def test_penalties(slimming):
    nets = {m: slimming.build(slimming.Setting("tiny", m), 3).double() for m in slimming.SCOPES}

    def of(method):
        return slimming.penalty(nets[method], slimming.Setting("tiny", method))

    gamma = torch.cat([value for name, value in nets["rni"].named_parameters() if "gamma" in name])
    p = (gamma + 1).sigmoid()
    torch.testing.assert_close(of("rni"), 1e-3 * (p * (1 - p.log())).sum())
    assert of("l1").item() == pytest.approx(1e-3 * 0.5 * 28)
    assert of("uniform") == 0


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("method", ["rni", "l1", "uniform"])
def test_a_cut_keeps_what_is_above_the_quantile(slimming, method, share):
    setting = slimming.Setting("tiny", method)
    net = slimming.build(setting, 3)
    for name in net.prunable:
        layer = net.get_submodule(name)
        torch.nn.init.normal_(layer.gamma if method == "rni" else layer.weight)
    layers = [net.get_submodule(name) for name in net.prunable]
    of = [(m.gamma.sigmoid() if method == "rni" else m.weight.abs()).detach() for m in layers]
    kept = []
    for score in of:
        pool = score if method == "uniform" else torch.cat(of)
        above = (score > pool.quantile(share)).nonzero().flatten().tolist()
        kept.append(above if len(above) >= 3 else sorted(score.topk(3).indices.tolist()))

    small = slimming.cut(net, setting, share, torch.rand(2, 3, 32, 32))
    for place, rows in zip((0, 3), kept, strict=True):
        torch.testing.assert_close(small.features[place].bias, net.features[place].bias[rows])
    if method == "uniform":
        assert [len(rows) for rows in kept] == ([4, 10] if share == 0.5 else [3, 3])


# Runs

SHORT = {"epochs": 4, "shares": (0.5, 0.75)}


@pytest.mark.parametrize("method", ["rni", "uniform"])
def test_a_run_that_was_stopped_often_is_the_run_that_was_not(
    prune, slimming, root, tmp_path, method
):
    setting = slimming.Setting("tiny", method, **SHORT)
    whole = study(prune, setting, root)
    (tmp_path / "whole").mkdir()
    assert whole.go(tmp_path / "whole")

    folder = tmp_path / "parts"
    folder.mkdir()
    calls = 0
    seeds = []
    while True:
        part = study(prune, setting, root)
        trained = part._train
        part._train = lambda seed, trained=trained: seeds.append(seed) or trained(seed)
        epochs = iter([0.0, float("inf")] if calls < 11 else [0.0, 0.0])  # one a call
        part._pace = lambda epochs=epochs: next(epochs)
        calls += 1
        if part.go(folder, deadline=1e12):
            break
    assert calls == 12 == part.record["starts"]
    assert len({*seeds}) == 12  # another order, other crops in each epoch

    def state(folder):
        return checkpoint.load(folder)

    expected, found = state(tmp_path / "whole"), state(folder)
    assert expected["run"] == found["run"]
    assert expected["scheduler"] == found["scheduler"]
    assert_same(found["net"], expected["net"])
    assert_same(found["trained"], expected["trained"])
    assert_same(found["optimiser"]["state"], expected["optimiser"]["state"])
    assert without_times(part.record) == without_times(whole.record)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_same(found[key], value)
        else:
            assert torch.equal(found[key], value), key


def without_times(record):
    stages = {
        name: stage | {"epochs": [entry | {"seconds": None} for entry in stage["epochs"]]}
        for name, stage in record["stages"].items()
    }
    return record | {"stages": stages, "seconds": 0, "starts": 0, "peak_memory_mib": 0}


@pytest.mark.parametrize("method", ["rni", "l1", "uniform"])
def test_a_stage_begins_with_the_trained_network_cut(prune, slimming, root, method):
    setting = slimming.Setting("tiny", method, **SHORT)
    run = study(prune, setting, root)
    run._begin("trained")
    for value in run.net.parameters():
        nn.init.normal_(value)
    run._train(0)  # the statistics move
    run.trained = run.net.state_dict()
    expected = slimming.cut(run.net, setting, 0.5, run.example)
    run._begin("0.5")
    assert_same(run.net.state_dict(), expected.state_dict())
    assert not run.optimiser.state and run.optimiser.param_groups[0]["lr"] == 0.1


def test_the_accuracy_is_that_of_the_running_statistics(prune, slimming, cifar, root):
    run = study(prune, slimming.Setting("tiny", "rni", **SHORT), root)
    run._begin("trained")
    for i in range(5):
        run._train(i)
    before = {name: value.clone() for name, value in run.net.state_dict().items()}
    images = run.data["test"]
    outputs = torch.cat([run.net.eval()(run.normalise(one[None])) for one in images.pixels])
    right = (outputs.argmax(1) == images.labels).sum().item()
    assert run._accuracy() == right / TEST
    assert_same(run.net.state_dict(), before)


def test_no_epoch_begins_that_would_end_too_late(prune, slimming, root, tmp_path, monkeypatch):
    setting = slimming.Setting("tiny", "l1", **SHORT)
    clock = [0.0]
    monkeypatch.setattr(prune.time, "monotonic", lambda: clock[0])
    run = study(prune, setting, root)
    trained = run._train

    def takes_ten_seconds(seed):
        clock[0] += 10
        return trained(seed)

    run._train = takes_ten_seconds
    assert not run.go(tmp_path, deadline=35)
    assert [entry["epoch"] for entry in run.record["stages"]["trained"]["epochs"]] == [1, 2, 3]
    assert checkpoint.load(tmp_path)["record"] == run.record


def test_a_checkpoint_of_another_run_is_refused(prune, slimming, root, tmp_path):
    study(prune, slimming.Setting("tiny", "l1", **SHORT), root).go(tmp_path, deadline=-1.0)
    assert not (tmp_path / checkpoint.LAST).exists()  # nothing was trained, nothing is kept
    run = study(prune, slimming.Setting("tiny", "l1", **SHORT), root)
    run._epoch = lambda: run._save(tmp_path) or run.record.update(finished=True)
    run.go(tmp_path)
    for change, words in (
        ({"precision": "bf16"}, "precision is '32' there and 'bf16' here"),
        ({"epochs": 5}, "epochs is 4 there and 5 here"),
    ):
        other = slimming.Setting("tiny", "l1", **(SHORT | change))
        with pytest.raises(ValueError, match=words):
            study(prune, other, root).go(tmp_path)


class Reads(TorchDispatchMode):
    """Counts what would make a GPU wait: values that Python reads, sizes that depend on values."""

    waits = ("_local_scalar_dense", "nonzero", "masked_select", "_to_copy", "unique")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        to_device = name == "_to_copy" and (kwargs or {}).get("device") is None
        self.count += name in self.waits and not to_device
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["rni", "l1", "uniform"])
def test_more_steps_read_no_more_from_the_device(prune, slimming, root, tmp_path, method):
    run = study(prune, slimming.Setting("tiny", method, **SHORT), root)
    run._begin("trained")
    counts = []
    for batch in (21, 3):
        with pytest.MonkeyPatch.context() as patch, Reads() as reads:
            patch.setattr(prune, "BATCH", batch)
            run._train(0)
        counts.append(reads.count)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_run_by_its_command(prune, slimming, root, tmp_path, capsys, precision):
    command = ["--data", str(root), "--method", "rni", "--network", "tiny", "--epochs", "4"]
    command += ["--device", "cpu", "--note", "made images", "--precision", precision]
    command += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    command += ["--channels-last"] * (precision == "bf16")
    prune.main([*command, "--minutes", "0"])
    assert "the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()
    prune.main(command)
    path = tmp_path / "results/pruning/tiny-rni-0-epochs=4.json"
    record = json.loads(path.read_text())
    assert [record[key] for key in ("network", "method", "seed", "note", "precision")] == [
        *("tiny", "rni", 0, "made images", precision)
    ]
    assert record["finished"] and record["versions"]["torch"] == torch.__version__
    assert {"commit", "dirty", "device", "threads", "seconds", "peak_memory_mib"} <= set(record)
    assert {split: part["images"] for split, part in record["data"].items()} == {
        "train": TRAIN,
        "test": TEST,
    }
    assert record["recipe"]["penalty"] == {"weight": 1e-3, "shift": 1.0}
    assert list(record["stages"]) == ["trained", "0.5", "0.9"]
    sizes = []
    for name, stage in record["stages"].items():
        accuracies = [entry["test"] for entry in stage["epochs"]]
        assert stage["last"] == accuracies[-1] and stage["best"] == max(accuracies)
        assert accuracies[stage["best_epoch"] - 1] == stage["best"]
        assert 0 <= stage["start"] <= 1
        assert [entry["epoch"] for entry in stage["epochs"]] == [1, 2, 3, 4]
        assert [entry["lr"] for entry in stage["epochs"]] == pytest.approx([0.1, 0.1, 0.01, 0.001])
        assert all((entry["penalty"] > 0) == (name == "trained") for entry in stage["epochs"])
        sizes.append((stage["parameters"], stage["macs"], sum(stage["channels"].values())))
    whole = pruning.cost(Tiny(3), torch.rand(1, 3, 32, 32))
    assert sizes[0] == (whole[0] - 28, whole[1], 28)  # σBN has no biases
    assert sizes[0] > sizes[1] > sizes[2] and sizes[1][2] == 14
    gates = unpack_gates(record["gates"])
    assert list(gates) == [1, 4] and gates[4].layers == {"features.1": 8, "features.4": 20}
    assert gates[1].values.std() > 0.05

    before = path.stat().st_mtime_ns
    prune.main(command)
    assert "is there" in capsys.readouterr().out and path.stat().st_mtime_ns == before
    path.unlink()
    prune.main(command)  # the checkpoint is of the end: nothing is trained again
    assert json.loads(path.read_text()) == record


def test_what_differs_from_the_study_is_in_the_name(slimming):
    assert slimming.Setting("vgg16", "l1", 2).name == "vgg16-l1-2"
    other = slimming.Setting("vgg16", "l1", epochs=4, shares=(0.5, 0.7))
    assert other.name == "vgg16-l1-0-epochs=4-shares=0.5+0.7"


def test_bad_settings_are_refused(prune, slimming, tmp_path):
    with pytest.raises(ValueError, match="epochs=3 must be at least 4"):
        slimming.Setting("vgg16", "rni", epochs=3)
    for shares in (0.5, 0.5), (0.0,), (1.0,):
        with pytest.raises(ValueError, match="must be different and between 0 and 1"):
            slimming.Setting("vgg16", "rni", shares=shares)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch finds no GPU"):
            prune.main(["--method", "rni", "--device", "cuda", "--results", str(tmp_path)])


def test_what_the_cut_needs_is_missed_before_training(prune, root, tmp_path, monkeypatch):
    monkeypatch.setattr(prune, "find_spec", lambda name: None)
    command = ["--data", str(root), "--method", "l1", "--network", "tiny", "--epochs", "4"]
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    with pytest.raises(ImportError, match="the cut needs torch-pruning"):
        prune.main([*command, *folders])
    assert not list(tmp_path.iterdir())
