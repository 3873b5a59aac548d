"""PASCAL-Context's two benchmarks: samples, losses, recipes, counts, and runs on six images."""

import json
import shlex

import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("torchvision")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from pascal_files import write

from tssbn.__main__ import main
from tssbn.benchmarks import find_benchmark
from tssbn.cost import delta_m, macs, parameters
from tssbn.data.real.pascal import TARGETS
from tssbn.methods import find_method
from tssbn.training.loop import train
from tssbn.training.run import Run

SIZES = {"train": [(40, 56), (48, 36), (30, 64), (50, 50)], "val": [(40, 56), (56, 40)]}
SMALL = {
    "pascal4": {"size": 64, "width": 12},
    "pascal5": {"size": 64, "width": 24, "depth": 4, "fused": 8, "thresholds": 3},
}
OUTPUTS = {"segmentation": 21, "parts": 7, "saliency": 1, "normal": 3}
UP = {"segmentation": True, "parts": True, "saliency": True, "normal": False}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("pascal")
    write(root, SIZES)
    return root


def made(name, **arguments):
    return find_benchmark(name)(**{**SMALL[name], "pretrained": "none", **arguments})


def test_five_tasks_are_tested_on_padded_images(files):
    sample = made("pascal5").data("test", files)[0]
    assert {name: tuple(x.shape) for name, x in sample.items()} == {
        "image": (3, 64, 64),
        "segmentation": (64, 64),
        "parts": (64, 64),
        "saliency": (64, 64),
        "normal": (3, 64, 64),
        "boundary": (64, 64),
    }
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[12:52, 4:60] = True  # of 40x56 pixels
    assert (sample["image"][:, ~inside] == 0).all()
    for name in ("segmentation", "parts", "saliency", "boundary"):
        assert (sample[name][~inside] == -1).all() and (sample[name][inside] >= 0).any()


def test_four_tasks_are_tested_on_resized_images(files):
    first, second = (made("pascal4").data("test", files)[i] for i in range(2))
    assert set(first) == {"image", *OUTPUTS}
    assert first["image"].shape == second["image"].shape == (3, 64, 64)
    assert (first["saliency"] >= 0).all() and (first["parts"] > 0).any()
    assert (second["parts"] == -1).all()  # nobody is in it


@pytest.mark.parametrize("name", SMALL)
def test_training_images_are_read_as_they_are_and_augmented_to_one_size(files, name):
    benchmark = made(name)
    data = benchmark.data("train", files)
    augment = benchmark.augment(data.targets)
    for i, size in enumerate(SIZES["train"]):
        assert data[i]["image"].shape == (3, *size)
        assert augment(data[i])["image"].shape == (3, 64, 64)


def test_the_losses_of_five_tasks():
    """Exact at the start from zeros: each is a mean of logarithms of two, or of components."""
    tasks = made("pascal5").tasks(TARGETS)
    labels = torch.tensor([[[1, 0, 0, 0, -1]]])
    two = tasks["saliency"].loss(torch.zeros(1, 2, 1, 5).double(), labels)
    assert two.item() == pytest.approx(0.6931471805599453 * 1.5 / 4)
    one = tasks["boundary"].loss(torch.zeros(1, 1, 1, 5).double(), labels)
    assert one.item() == pytest.approx(0.6931471805599453 * (0.95 + 3 * 0.05) / 4)
    normal = torch.tensor([0.6, 0.0, -0.8]).view(1, 3, 1, 1)
    across = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    assert tasks["normal"].loss(across, normal).item() == pytest.approx(2.4)
    assert [task.out_channels for task in tasks.values()] == [21, 7, 2, 3, 1]
    firsts = [next(iter(task.metric().directions)) for task in tasks.values()]
    assert firsts == ["miou", "miou", "max_f", "mean", "ods_f"]
    assert tasks["saliency"].metric().double_sigmoid
    boundary = find_benchmark("pascal5")(thresholds=9).tasks(TARGETS)["boundary"].metric()
    assert boundary.tolerance == 0.0075 and len(boundary.thresholds) == 9


def test_the_losses_of_four_tasks():
    tasks = made("pascal4").tasks({name: TARGETS[name] for name in OUTPUTS})
    labels = torch.tensor([[[1, 0, 0, 0, -1]]])
    loss = tasks["saliency"].loss(torch.zeros(1, 1, 1, 5).double(), labels)
    assert loss.item() == pytest.approx(0.6931471805599453 * 1.5 / 5)
    normal = torch.tensor([0.6, 0.0, -0.8]).view(1, 3, 1, 1)
    across = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    assert tasks["normal"].loss(across, normal).item() == pytest.approx(0.8)
    assert {name: task.out_channels for name, task in tasks.items()} == OUTPUTS
    firsts = [next(iter(task.metric().directions)) for task in tasks.values()]
    assert firsts == ["miou", "miou", "miou", "mean"]


def test_the_recipes_are_those_of_the_protocols():
    four, five = (find_benchmark(name)().recipe for name in SMALL)
    assert (4998 // five.batch, five.epochs * (4998 // five.batch)) == (1249, 39_968)
    assert five.lr * five.factor(19_984, 1249) == pytest.approx(2e-5 * 0.5**0.9)
    assert five.weights == {"parts": 2, "saliency": 5, "normal": 10, "boundary": 50}
    assert (4998 // four.batch, four.epochs * (4998 // four.batch)) == (156, 46_800)
    assert four.lr == 3.125e-5 and four.weights == {"parts": 2, "saliency": 5, "normal": 10}
    rates = [four.lr * four.factor(step, 156) for step in (0, 3120, 46_800)]
    assert rates == pytest.approx([5e-7 / 16, 3.125e-5, 5e-6 / 16])
    assert (five.clip, four.clip, five.decay_vectors, four.decay_vectors) == (10, 5, True, False)


def test_heads_alone_are_trained_where_nothing_is_beside_the_method():
    for beside in True, False:
        network = made("pascal4", beside=beside).network
        net = find_method("heads-only").build(network, {"segmentation": 21})
        assert any(p.requires_grad for p in net.trunk.parameters()) == beside


def test_parameters_of_four_tasks_at_full_size():
    network = find_benchmark("pascal4")().network
    with torch.device("meta"):
        counts = {m: parameters(find_method(m).build(network, OUTPUTS)) for m in ("stl", "hps")}
    assert counts == {"stl": 112_017_896, "hps": 29_464_442}


def test_parameters_and_macs_of_five_tasks_at_full_size():
    """Table 3 prints 29 M and 214 G for both kinds of task-specific norms."""
    outputs = {**OUTPUTS, "saliency": 2, "boundary": 1}
    network = find_benchmark("pascal5")().network
    with torch.device("meta"):
        nets = {m: find_method(m).build(network, outputs) for m in ("hps", "tsbn", "tssbn")}
        counted = macs(nets["tssbn"], torch.empty(2, 3, 512, 512))
    assert parameters(nets["hps"]) == 29_257_762
    assert parameters(nets["tsbn"]) == 29_346_850
    assert counted / 1e9 == pytest.approx(214.5, abs=0.1)


def test_the_papers_gains_follow_from_its_numbers():
    """But for two rows, whose numbers are others'."""
    paper = find_benchmark("pascal4")().paper
    assert len(paper) == 16 and paper["stl"]["parameters"] == 112_620_000
    single = {task: paper["stl"][task] for task in UP}
    complete = {method: numbers for method, numbers in paper.items() if set(UP) <= set(numbers)}
    assert len(complete) == 9
    for method, numbers in complete.items():
        gain = delta_m({task: numbers[task] for task in UP}, single, UP)
        other = {"hps": 0.22, "polyhistor": -0.54}.get(method, 0)
        assert gain == pytest.approx(numbers.get("delta", 0) + other, abs=0.012), method
    assert set(find_benchmark("pascal5")().paper) >= {"mlore", "tsbn", "tssbn"}


@pytest.mark.parametrize(
    ("name", "method"), [("pascal5", "tssbn"), ("pascal4", "hps"), ("pascal4", "tssbn-lora")]
)
def test_the_command_trains_the_protocol(name, method, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {**SMALL[name], "pretrained": "none", "batch": 2, "epochs": 1}
    settings = " ".join(f"{key}={value}" for key, value in given.items())
    command = f"train {name} --method {method} --data {files} --quiet --set {settings}"
    assert main(shlex.split(command)) == 0
    (path,) = (tmp_path / f"data/results/{name}").glob("*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["finished"] and record["pretrained"] == "none"
    assert record["data"]["kind"] == "real subset" and "constant" not in record
    tasks = list(record["metric"])
    assert set(record["epochs"][0]["losses"]) == set(record["epochs"][0]["test"]) == set(tasks)


def test_trained_parameters_are_counted_apart_from_those_of_decoders(files):
    settings = {**SMALL["pascal5"], "pretrained": "none", "batch": 2, "epochs": 1}
    run = Run("pascal5", "stl", settings=settings)
    net, record = train(run, root=files, accelerator="cpu", deadline=0)  # without an epoch
    decoders = [part for one in net.networks.values() for part in one[1].parameters()]
    assert record["decoder_parameters"] == sum(p.numel() for p in decoders)
    assert record["parameters"] == parameters(net) > record["decoder_parameters"]
