"""NYUv2 on a pretrained trunk: its samples, its parts, its sizes, and whole runs on six frames."""

import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("torchvision")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import timm

from tssbn.benchmarks import find_benchmark
from tssbn.benchmarks.nyuv2_lite import held_out
from tssbn.cost import _ShapesAlone, parameters
from tssbn.methods import find_method
from tssbn.networks.efficientnet import FILE, LiteDecoder, in_norm, lite0
from tssbn.norm import TaskSpecificNorm
from tssbn.records.comparable import check_comparable
from tssbn.training.loop import train
from tssbn.training.run import Run

COUNTS = {"train": 6, "val": 3}
SIZE = (64, 96)  # of the files
SMALL = {"height": 32, "width": 48, "pretrained": "none", "epochs": 1, "batch": 3}
OUTPUTS = {"segmentation": 13, "depth": 1, "normal": 3}
METHODS = ("stl", "hps", "tsbn", "tsbn-x100", "tssbn")


def arrays(seed):
    """One sample as the files hold it."""
    random = np.random.default_rng(seed)
    normal = 0.2 * random.normal(size=(*SIZE, 3)) - (0, 0, 1)  # towards the camera
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return {
        "image": random.random((*SIZE, 3)),
        "label": random.integers(-1, 13, SIZE),
        "depth": random.uniform(0.7, 10, (*SIZE, 1)),
        "normal": normal,
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("nyuv2")
    for split, count in COUNTS.items():
        for i in range(count):
            for name, value in arrays(i + 10 * (split == "val")).items():
                (root / split / name).mkdir(parents=True, exist_ok=True)
                np.save(root / split / name / f"{i}.npy", value.astype(np.float32))
    return root


def made(**arguments):
    return find_benchmark("nyuv2_lite")(**{"height": 32, "width": 48, **arguments})


def run(method, **settings):
    return Run("nyuv2_lite", method, settings={**SMALL, **settings})


def test_a_sample_is_half_of_what_the_files_hold(files):
    sample, whole = made().data("test", files)[1], arrays(11)
    assert {name: tuple(x.shape) for name, x in sample.items()} == {
        "image": (3, 32, 48),
        "segmentation": (32, 48),
        "depth": (1, 32, 48),
        "normal": (3, 32, 48),
    }
    levels = sample["image"] * 255
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    # Of four pixels in a square, labels and depth are one; so are both the same one.
    labels = np.stack([whole["label"][a::2, b::2] for a in (0, 1) for b in (0, 1)])
    depths = np.stack([whole["depth"][a::2, b::2, 0] for a in (0, 1) for b in (0, 1)])
    same = (labels == sample["segmentation"].numpy()) & np.isclose(depths, sample["depth"].numpy())
    assert same.any(0).all()
    torch.testing.assert_close(sample["normal"].norm(dim=0), torch.ones(32, 48))


def test_files_of_the_size_are_as_they_are(files):
    sample = made(height=64, width=96).data("test", files)[0]
    label, normal = (arrays(10)[name] for name in ("label", "normal"))
    assert np.array_equal(sample["segmentation"].numpy(), label)
    np.testing.assert_allclose(sample["normal"].permute(1, 2, 0).numpy(), normal, atol=1e-6)


def test_the_parts(files):
    data = made().data
    assert {split: len(data(split, files)) for split in ("train", "test")} == {
        "train": 6,
        "test": 3,
    }
    with pytest.raises(ValueError, match="NYUv2 has no validation images, so report=val"):
        data("val", files)


def test_held_out_frames_are_of_the_training_part_and_not_trained_on(files, tmp_path):
    root = tmp_path / "nyuv2"
    shutil.copytree(files / "train", root / "train")  # and no images to test on
    whole = made().data("train", root)
    parts = {split: made(holdout=2).data(split, root) for split in ("train", "test", "val")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 4, "test": 2, "val": 2}
    names = {split: {p.files(i)["image"] for i in range(len(p))} for split, p in parts.items()}
    assert not names["train"] & names["test"]
    assert names["train"] | names["test"] == {whole.files(i)["image"] for i in range(6)}
    assert names["val"] == names["test"]
    for part in parts.values():
        for i in range(len(part)):
            number = int(part.files(i)["image"].stem)
            assert torch.equal(part[i]["depth"], whole[number]["depth"])


@pytest.mark.parametrize(
    ("n", "count"), [(795, 159), (795, 1), (795, 794), (7, 3), (20, 0), (1, 0)]
)
def test_what_is_held_out_is_spread_over_all(n, count):
    held = held_out(n, count)
    assert held == sorted(set(held)) and len(held) == count
    assert all(0 <= i < n for i in held)
    for end in range(0, n + 1, max(1, n // 20)):  # in proportion up to every point, to a section
        assert abs(sum(i < end for i in held) - count * end / n) <= n / 20 + 1


def test_size_of_the_networks():
    benchmark = made(height=144, width=192, pretrained="none")
    with torch.device("meta"):
        trunk, heads = lite0(), [LiteDecoder(n) for n in OUTPUTS.values()]
        nets = {method: find_method(method).build(benchmark.network, OUTPUTS) for method in METHODS}
        x = torch.empty(2, 3, 144, 192)
    with torch.no_grad(), _ShapesAlone():
        shapes = {task: y.shape for task, y in nets["tssbn"](x).items()}
    assert shapes == {task: (2, n, 144, 192) for task, n in OUTPUTS.items()}
    of_heads = sum(map(parameters, heads))
    assert parameters(nets["hps"]) == parameters(trunk) + of_heads
    assert parameters(nets["stl"]) == 3 * parameters(trunk) + of_heads
    assert parameters(nets["tsbn"]) == parameters(nets["hps"]) + 2 * 2 * 19728
    assert parameters(nets["tssbn"]) == parameters(nets["hps"]) + (3 - 2) * 19728


@pytest.mark.parametrize("method", ["cross-stitch", "mmoe", "cgc", "ple", "ltb", "dselect-k"])
def test_methods_of_several_trunks_take_one_of_four_maps(method):
    benchmark = made(pretrained="none")
    with torch.device("meta"):
        net = find_method(method).build(benchmark.network, OUTPUTS)
    with torch.no_grad(), _ShapesAlone():
        shapes = {task: y.shape for task, y in net(benchmark.network.example.to("meta")).items()}
    assert shapes == {task: (2, n, 32, 48) for task, n in OUTPUTS.items()}


@pytest.mark.parametrize("method", ["ple", "ltb"])
def test_mixing_between_stages_may_make_them_hard_sharing(method):
    torch.manual_seed(0)
    options = {"heads": True} if method == "ltb" else {}
    build, network = find_method(method).build, made(pretrained="none").network
    net = build(network, {"a": 2, "b": 1}, **options).double().eval()
    x = network.example.double()
    with torch.no_grad():
        if method == "ltb":
            net.logits[:, :, 1].fill_(2)  # all choose the second column
            trunk, heads = net.networks["b"][0], {t: n[1] for t, n in net.networks.items()}
        else:
            for gate in (gate[0] for gates in net.gates.values() for gate in gates):
                gate.weight.zero_(), gate.bias.copy_(torch.tensor([1e4, -1e4]))
            (trunk,), heads = net.common, net.heads
        for task, y in net(x).items():
            torch.testing.assert_close(y, heads[task](trunk(x)), rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", ["tsbn", "tssbn"])
def test_the_shared_stem_is_exact(method):
    torch.manual_seed(0)
    network = made(pretrained="none").network
    net = find_method(method).build(network, OUTPUTS).double()
    with torch.no_grad():
        for name, value in net.trunk.named_parameters():
            if name.endswith("gamma"):
                value.normal_()
    assert net.stem == "bn1"
    net.check(network.example.double())


@pytest.mark.parametrize("method", METHODS)
def test_a_whole_run(method, files):
    net, record = train(run(method), root=files, accelerator="cpu")
    assert record["finished"] and record["pretrained"] == "none"
    assert list(record["epochs"][0]["test"]) == list(OUTPUTS)
    assert record["metric"] == {"segmentation": "miou", "depth": "absolute", "normal": "mean"}
    assert record["data"]["kind"] == "real subset"
    own = [name for name, m in net.named_modules() if isinstance(m, TaskSpecificNorm)]
    assert len(own) == (0 if method in ("stl", "hps") else 48)
    assert all(name.startswith("trunk.") for name in own)  # decoders are the task's own anyway


def test_a_run_on_held_out_frames_has_it_in_its_name_and_can_choose_an_epoch(files):
    held = run("hps", holdout=2, report="val")
    assert "-holdout=2-" in held.name
    record = train(held, root=files, accelerator="cpu").record
    samples = {split: part["samples"] for split, part in record["data"]["splits"].items()}
    assert samples == {"train": 4, "test": 2, "val": 2}
    assert record["epochs"][0]["val"] == record["epochs"][0]["test"]


def test_gates_have_the_rate_of_the_paper():
    for method in ("tssbn", "shared-gates", "deep-gates"):
        of_run = run(method)
        assert of_run.options["multiplier"] * of_run.benchmark.recipe.lr == 100 * 1e-4
        assert "multiplier" not in of_run.name


@pytest.fixture(scope="module")
def frozen(files, tmp_path_factory):
    """Runs on the frozen trunk of a file, by method: other weights, the network and the record."""
    root, found = tmp_path_factory.mktemp("frozen"), {}
    (root / "weights").mkdir()
    for seed, method in enumerate(("hps", "tssbn")):
        torch.manual_seed(seed)
        whole = timm.create_model("tf_efficientnet_lite0").state_dict()
        torch.save(whole, root / "weights" / FILE)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TSSBN_DATA", str(root))
            wanted = run(method, frozen=True, pretrained="file")
            found[method] = (whole, *train(wanted, root=files, accelerator="cpu"))
    return found


@pytest.mark.parametrize("method", ["hps", "tssbn"])
def test_filters_stay_where_they_are_frozen(method, frozen):
    whole, net, record = frozen[method]
    learned = {name for name, p in net.trunk.named_parameters() if p.requires_grad}
    filters = {n: p for n, p in net.trunk.named_parameters() if n in whole and not in_norm(n)}
    assert len(filters) == 48
    assert all(torch.equal(p, whole[name]) for name, p in filters.items())
    assert learned and all(in_norm(name) for name in learned)
    moved = [
        n for n in learned if n in whole and not torch.equal(net.trunk.get_parameter(n), whole[n])
    ]
    assert len(moved) == (96 if method == "hps" else 0)  # the tasks' own rows move instead
    assert record["parameters"] == sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert len(record["pretrained"]) == 64


def test_runs_from_other_weights_are_not_compared(frozen):
    hps, tssbn = (record for _, _, record in frozen.values())
    check_comparable("nyuv2_lite", [hps])
    with pytest.raises(ValueError, match=r"tssbn-0.* beside .*hps-0.*: 'sha256' of pretrained is"):
        check_comparable("nyuv2_lite", [hps, tssbn])
    check_comparable("nyuv2_lite", [hps, tssbn | {"pretrained": hps["pretrained"]}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 30}, "height=30 and width=48 must be multiples of 4"),
        ({"pretrained": "hub"}, "pretrained='hub' must be one of 'package'"),
        ({"holdout": 795}, "holdout=795 must be 0 or more, and below the 795 training images"),
    ],
)
def test_a_wrong_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        made(**arguments)
