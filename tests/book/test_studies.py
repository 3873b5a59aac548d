"""Each study runs on a few images for a few steps, and leaves a record that is read."""

import json
from dataclasses import replace
from functools import partial
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("sklearn")
pytest.importorskip("torch_pruning")

from PIL import Image
from studies import script
from torch import nn

from tssbn import records
from tssbn.benchmarks import find_benchmark
from tssbn.networks.celeba import CelebANet
from tssbn.training.loop import train
from tssbn.training.run import Run

ROOMS = {"n": 16, "height": 32, "width": 32, "filters": 2, "epochs": 1, "batch": 8}
FACES = {"n": 24, "side": 16, "filters": 2, "attributes": 3, "epochs": 1, "batch": 8}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_angles(tmp_path, monkeypatch):
    angles = script("angles")
    few = {name: angles.VARIANTS[name] for name in ("hps", "tssbn .1", "random gates")}
    small = {"SEEDS": range(1), "SETTINGS": ROOMS | {"n": 32, "batch": 4}, "VARIANTS": few}
    for name, value in small.items():
        monkeypatch.setattr(angles, name, value)
    angles.main(tmp_path)
    runs = read(tmp_path / "angles/first_epoch.json")["runs"]
    assert [len(run["all"]) for (run,) in runs.values()] == [4, 4, 4]  # every other one of 8 steps
    for name in "tssbn .1", "random gates":
        (run,) = runs[name]
        assert set(run["end"]) == {"same", "other", "within", "averaged", "shuffled"}
        assert len(run["gates"]["similarity"]) == 3


def test_features(tmp_path, monkeypatch):
    features = script("features")
    settings = features.SETTINGS | {"epochs": 1, "filters": 2}
    for name, value in {
        "SEEDS": range(1), "SETTINGS": settings, "TRAIN": 96, "TEST": 64, "SHOWN": 8,
        "FIVE": features.FIVE[:3],
    }.items():  # fmt: skip
        monkeypatch.setattr(features, name, value)
    features.main(tmp_path)
    (run,) = read(tmp_path / "features/five_attributes.json")["runs"]
    assert len(run) == 7 and np.shape(run["trained"]["probes"]) == (3, 3)
    hps, stl = (np.array(run[name]["probes"]) for name in ("HPS", "STL"))
    assert (hps == hps[0]).all() and not (stl == stl[0]).all()


def test_capacity(tmp_path, monkeypatch):
    capacity = script("capacity")
    regress = capacity.regress
    monkeypatch.setattr(capacity, "regress", lambda p, s, m: regress(p, s, m, steps=1))
    path = capacity.study("overlap", seeds=1, folder=tmp_path)
    record = read(path)
    assert [run["value"] for run in record["runs"]] == record["values"]
    assert records.unpack_gates(record["runs"][0]["gates"])[1].values.shape == (2, 64)


def test_company(tmp_path):
    company = script("company")
    root, names = tmp_path / "celeba", ["000001.jpg", "000002.jpg", "000003.jpg"]
    for folder in ("Img/img_align_celeba", "Anno", "Eval"):
        (root / folder).mkdir(parents=True)
    rows = [f"{name} " + " ".join(["1"] * 40) for name in names]
    text = "\n".join(["3", " ".join(company.ATTRIBUTES), *rows])
    (root / "Anno/list_attr_celeba.txt").write_text(text + "\n")
    parts = "".join(f"{name} {part}\n" for name, part in zip(names, (0, 0, 2), strict=True))
    (root / "Eval/list_eval_partition.txt").write_text(parts)
    for name in names:
        Image.new("RGB", (4, 4)).save(root / "Img/img_align_celeba" / name)
    assert company.main(["--data", str(root), "--results", str(tmp_path)]) == 0
    record = read(tmp_path / "company/celeba.json")
    assert record["images"] == 2 and record["frequency"] == [1.0] * 40


def test_removal(tmp_path, monkeypatch):
    removal = script("removal")
    run, runs = Run("rooms", "tssbn", 0, ROOMS), tmp_path / "runs"
    saved = train(
        run, runs / run.name, accelerator="cpu", precision="bf16", channels_last=True, angles=2
    )
    monkeypatch.setattr(removal, "load", {run.name: saved.record}.__getitem__)
    path = records.write("removal/rooms-0", removal.study(run, 4, 2, runs), tmp_path)
    record = read(path)
    assert removal.how(run) == {"precision": "bf16", "channels_last": True}
    assert len(record["base"]) == len(record["constant"]) == 3
    sets = {kind: np.shape(one) for kind, one in record["without"].items()}
    assert sets == dict.fromkeys(("own", "widest", "least"), (1, 3, 3)) | dict.fromkeys(
        ("random", "matched", "shuffled"), (2, 3, 3)
    )


def test_cut(tmp_path, monkeypatch):
    cut = script("cut")
    for name, value in {"IMAGES": 4, "EPOCHS": 1, "SHARES": (0.4,)}.items():
        monkeypatch.setattr(cut, name, value)
    record = cut.study(Run("faces", "tssbn", 0, FACES | {"attributes": 2}))
    path = records.write("cut/faces-0", record, tmp_path)
    networks = read(path)["networks"]
    assert list(networks) == ["trained", "went on", "receding"]
    found = next(iter(networks["receding"].values()))
    assert found["gates"][0]["macs"] < found["whole"]["macs"]


def test_branches(tmp_path, monkeypatch):
    branches = script("branches")
    monkeypatch.setitem(branches.SHARES, "faces", (0.75,))
    tuned = {"gates": (0.75,), "loss": (), "random": (), "together": ()}
    monkeypatch.setitem(branches.TUNED, "faces", tuned)
    monkeypatch.setattr(branches, "SEARCH", {"batches": 1, "images": 8})
    record = branches.record(Run("faces", "tssbn", 0, FACES), None)
    path = records.write("branches/faces-0", record, tmp_path)
    points = {point["chooser"]: point for point in read(path)["points"]}
    assert list(points) == ["apart", "trunk", "gates", "loss", "random", "together"]
    assert points["apart"]["cost"] == 1 and points["apart"]["change"]["merged"] == 0
    assert all(points[chooser]["cost"] <= 0.75 for chooser in ("gates", "loss", "together"))
    assert "tuned" in points["gates"]["change"] and "tuned" not in points["loss"]["change"]


def test_trees_may_part_at_layers_that_the_trunk_has():
    branches = script("branches")
    tables = branches.SETTINGS, branches.DEPTHS, branches.SHARES, branches.TUNED, branches.TUNING
    assert {tuple(table) for table in tables} == {("rooms_segnet", "faces")}
    trunk = find_benchmark("rooms_segnet")().network.trunk()
    assert set(branches.DEPTHS["rooms_segnet"]) <= dict(trunk.named_modules()).keys()


def test_branches_time(tmp_path, monkeypatch):
    time = script("branches_time")
    small = {"n": 24, "side": 16, "filters": 2}
    monkeypatch.setattr(time, "SETTINGS", {"faces": small})
    time.main(2, tmp_path)
    rows = read(tmp_path / "branches/time.json")["rows"]
    assert {row["network"] for row in rows} >= {"stacked passes", "apart", "trunk"}


def test_beyond_vision(tmp_path, monkeypatch):
    names = script("beyond_vision")
    monkeypatch.setattr(names, "RUNS", (("stl", 1), ("hps", 1), ("tssln", 10)))
    path = names.study(seeds=1, steps=1, folder=tmp_path)
    runs = read(path)["runs"]
    assert [run["method"] for run in runs] == ["untrained", "stl", "hps", "tssln"]
    assert all(set(run["test"]) == set(names.TASKS) for run in runs)


def test_learnable(tmp_path):
    learnable = script("learnable")
    options = ["--train", "4", "--test", "2", "--seeds", "1", "--steps", "1", "--batch", "2"]
    learnable.main(["rooms", *options], tmp_path)
    record = read(tmp_path / "learnable/rooms.json")
    assert list(record["scores"]) == ["constant", "position", "tiny", "bigger"]


def test_bench_export(tmp_path, monkeypatch):
    bench = script("bench_export")
    tiny = replace(bench.NETWORKS["celeba"], build=lambda size: CelebANet(2), batch=2)
    monkeypatch.setitem(bench.NETWORKS, "celeba", tiny)
    bench.main(["celeba", "--rounds", "2"], tmp_path)
    found = read(tmp_path / "bench/export.json")["networks"]["celeba"]
    assert found["difference"] < 1e-5 and found["ratios"]["folded"]["median"] == 1


def test_bench_peers(tmp_path, monkeypatch):
    bench = script("bench_peers")
    small = partial(bench.dilated_resnet, (1, 1, 1, 1), (4, 8, 16, 32))
    monkeypatch.setattr(bench, "dilated_resnet", small)
    bench.main(["--tasks", "2", "--size", "32", "32", "--rounds", "2", "--threads", "1"], tmp_path)
    cell = read(tmp_path / "bench/peers.json")["networks"]["deeplab"]["2"]
    assert set(cell["seconds"]) == {"matmul", "plain", *bench.OURS}


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

    def forward(self, x):
        return self.classifier(self.features(x))


@pytest.mark.parametrize("method", ["rni", "l1", "uniform"])
def test_pruning_that_was_stopped_is_the_run_that_was_not(tmp_path, monkeypatch, method):
    pruning = script("pruning")
    monkeypatch.setitem(pruning.NETWORKS, "tiny", Tiny)
    penalties = pruning.penalty.__globals__["PENALTIES"]
    monkeypatch.setitem(penalties, ("tiny", "rni"), {"weight": 1e-3, "shift": 1.0})
    monkeypatch.setitem(penalties, ("tiny", "l1"), {"weight": 1e-3})
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(("bird", "cat")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(3):
                pixels = random.integers(0, 120, (32, 32, 3), np.uint8) + label * 100
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / split / name / f"{i}.png")

    ticks = count()  # a clock by which one epoch fits into a call
    monkeypatch.setattr(pruning, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    command = ["--data", str(tmp_path), "--method", method, "--network", "tiny"]
    command += ["--epochs", "4", "--device", "cpu"]

    def run(name, *more):
        folders = ["--runs", str(tmp_path / name), "--results", str(tmp_path / name)]
        pruning.main([*command, *folders, *more])
        return tmp_path / name / f"pruning/tiny-{method}-0-epochs=4.json"

    calls = 1
    while not (parts := run("parts", "--minutes", "0.12")).exists():
        calls += 1
        assert calls < 20
    found, expected = read(parts), read(run("whole"))
    assert calls == 12 == found["starts"]
    for record in found, expected:
        for stage in record["stages"].values():
            for epoch in stage["epochs"]:
                del epoch["seconds"]
    assert found["stages"] == expected["stages"] and found["gates"] == expected["gates"]
    sizes = [sum(stage["channels"].values()) for stage in found["stages"].values()]
    assert sizes[0] == 28 > sizes[1] > sizes[2]
    assert torch.tensor([stage["last"] for stage in found["stages"].values()]).isfinite().all()
