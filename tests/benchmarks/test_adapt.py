"""From streets to rooms: parts, steps, counts, weights, and whole runs on few images."""

import json

import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("torchvision")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from studies import script

from tssbn.benchmarks import adapt, find_benchmark
from tssbn.methods import METHODS, find_method
from tssbn.norm import TaskSigmoidNorm
from tssbn.training.batches import sha256
from tssbn.training.loop import train
from tssbn.training.run import Run

OUTPUTS = {"segmentation": 4, "depth": 1, "normal": 3}
FEW = {"n": 16, "epochs": 1, "warmup": 0}
GATES = 1312  # channels of LayerNorm
TRUNK = 565_980
ORDER = list(METHODS)
FREEZING = ORDER[ORDER.index("heads-only") : ORDER.index("hps-wide")]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A source drawn at random, in the folder where weights are; gives its tensors."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    torch.manual_seed(5)
    drawn = {name: x + torch.randn_like(x) / 8 for name, x in adapt.trunk().state_dict().items()}
    given = {name: x.half() for name, x in drawn.items()}
    torch.save(given, tmp_path / "weights" / adapt.weights_file(2))
    return {name: x.float() for name, x in given.items()}


def test_the_parts():
    whole, held = adapt.benchmark(n=24).data, adapt.benchmark(n=24, holdout=8).data
    assert [len(whole(split, None)) for split in ("train", "val", "test")] == [24, 24, 24]
    assert [len(held(split, None)) for split in ("train", "val", "test")] == [16, 8, 8]
    images = whole("train", None)[:]["image"]
    assert images.shape == (24, 3, 48, 48)
    assert torch.equal(held("train", None)[:]["image"], images[:16])
    assert torch.equal(held("val", None)[:]["depth"], whole("train", None)[16:]["depth"])
    assert torch.equal(held("test", None)[:]["image"], images[16:])
    assert not torch.equal(whole("test", None)[:]["image"], images)


@pytest.mark.parametrize(("holdout", "epochs", "steps"), [(0, 25, 12), (40, 30, 10)])
def test_there_are_300_steps_and_20_of_warm_up_with_a_holdout_or_without(holdout, epochs, steps):
    recipe = adapt.benchmark(holdout=holdout).recipe
    assert (recipe.epochs, (200 - holdout) // recipe.batch) == (epochs, steps)
    ramp = [recipe.factor(step, steps) / adapt_cosine(step) for step in range(25)]
    assert ramp == pytest.approx([min(1.0, (step + 1) / 21) for step in range(25)])


def adapt_cosine(step):
    return (1 + torch.tensor(step / 300 * torch.pi, dtype=torch.float64).cos().item()) / 2


@pytest.mark.parametrize("method", FREEZING)
def test_what_is_trained_in_the_trunk_has_a_rate_of_its_own(method, weights):
    of_run = Run("adapt", method, settings={"source": 2, "multiplier": 3})
    build, groups = of_run.method.build, of_run.method.groups
    net = build(of_run.benchmark.network, OUTPUTS)
    whole = {key: value for key, value in of_run.options.items() if key == "whole"}
    found = groups(net, 0.1, multiplier=3.0, **whole)
    rates = {id(p): group["lr"] for group in found for p in group["params"]}
    trained = {name: rates[id(p)] for name, p in net.named_parameters() if p.requires_grad}
    assert trained == {
        name: pytest.approx(0.3 if name.startswith("trunk.") else 0.1) for name in trained
    }


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("heads-only", 0),
        ("shared-norm", 2 * GATES),
        ("full", TRUNK),
        ("tssbn-frozen", 3 * 2 * GATES),  # γ and β: the norms are pretrained
        ("tsbn-frozen", 3 * 2 * GATES),
        ("adapter", 132_384),
        ("vl-adapter", 44_128 + 2 * GATES),
        ("lora-shared", 114_688),
        ("bitfit", 18_228),
    ],
)
def test_parameters_of_the_trunk(method, expected, weights):
    network = adapt.benchmark(source=2).network
    net = find_method(method).build(network, OUTPUTS)
    assert sum(p.numel() for p in net.trunk.parameters() if p.requires_grad) == expected
    assert sum(p.numel() for p in net.heads.parameters()) == 61_416


def test_a_run_says_from_which_source_it_starts(weights):
    net, record = train(
        Run("adapt", "heads-only", settings={**FEW, "source": 2}), accelerator="cpu"
    )
    assert record["pretrained"] == sha256(weights) and record["settings"]["source"] == 2
    state = net.trunk.state_dict()
    assert all(torch.equal(x, state[name].cpu()) for name, x in weights.items())
    assert record["metric"] == {"segmentation": "miou", "depth": "absolute", "normal": "mean"}
    assert record["data"]["kind"] == "synthetic"


def test_gates_keep_what_the_source_learned(weights):
    network = adapt.benchmark(source=2).network
    net, frozen = (find_method(m).build(network, OUTPUTS) for m in ("tssbn-frozen", "heads-only"))
    assert sum(isinstance(layer, TaskSigmoidNorm) for layer in net.modules()) == 15
    for heads in net, frozen:
        heads.double().eval().heads.requires_grad_(False)
    net.heads = frozen.heads
    x = network.example.double()
    with torch.no_grad():
        for task, y in net(x).items():
            torch.testing.assert_close(y, frozen(x)[task], rtol=0, atol=1e-10)


def test_a_source_is_trained_and_read(tmp_path, monkeypatch):
    study = script("adapt_source")
    record = study.learn(7, tmp_path / "weights", study.source(n=16, epochs=1))
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    given = adapt.benchmark(source=7).network.pretrained()
    assert record["weights"] == sha256(given) and record["finished"]
    assert json.dumps(record)
    shapes = {name: x.shape for name, x in adapt.trunk().state_dict().items()}
    assert {name: x.shape for name, x in given.items()} == shapes


def test_weights_that_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    of_run = Run("adapt", "hps")  # which needs none yet
    message = r"needs adapt-source-0.pth in data/weights; `python book/studies/adapt_source.py 0`"
    with pytest.raises(FileNotFoundError, match=message):
        of_run.benchmark.network.trunk()
    adapt.benchmark(pretrained="none").network.trunk()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pretrained": "hub"}, "pretrained='hub' must be one of 'source' for what was learned"),
        ({"holdout": 185}, "holdout=185 must be 0 or more, and leave 16 of n=200 images"),
        ({"holdout": -1}, "holdout=-1 must be 0 or more"),
    ],
)
def test_a_wrong_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_benchmark("adapt")(**arguments)
