"""From swapped digits to digits: canvases, counts, weights, and whole runs on few of them."""

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

OUTPUTS = {"left": 5, "right": 5}
FEW = {"per_pair": 1, "epochs": 1}
GATES = 544  # channels of LayerNorm
TRUNK = 135_980
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


def test_the_source_has_the_halves_of_a_canvas_swapped():
    target, source = (adapt.composed("train", 1, swapped)[:] for swapped in (False, True))
    assert target["image"].shape == (16, 3, 20, 20)
    assert torch.equal(source["image"][..., :10], target["image"][..., 10:])
    assert torch.equal(source["image"][..., 10:], target["image"][..., :10])
    assert torch.equal(source["left"], target["right"])
    assert torch.equal(source["right"], target["left"])


def test_there_are_60_steps_of_64_canvases():
    made = adapt.benchmark()
    assert len(made.data("train", None)) * made.recipe.epochs == 60 * made.recipe.batch
    assert [len(made.data(split, None)) for split in ("val", "test")] == [400, 500]


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
        ("tssbn-frozen", 2 * 2 * GATES),  # γ and β: the norms are pretrained
        ("tsbn-frozen", 2 * 2 * GATES),
        ("adapter", 2 * 2 * 2 * (552 + 2_128)),  # tasks, blocks of a stage, places, widths 8 and 16
        ("vl-adapter", 2 * 2 * (552 + 2_128) + 2 * GATES),
        ("lora", 2 * 4 * 2 * (4 * 32 + 4 * 64)),  # tasks, rank, blocks, inputs and outputs
    ],
)
def test_parameters_of_the_trunk(method, expected, weights):
    network = adapt.benchmark(source=2).network
    net = find_method(method).build(network, OUTPUTS)
    assert sum(p.numel() for p in net.trunk.parameters() if p.requires_grad) == expected
    assert sum(p.numel() for p in net.heads.parameters()) == 2 * (576 + 1) * 5


def test_a_run_says_from_which_source_it_starts(weights):
    net, record = train(
        Run("adapt", "heads-only", settings={**FEW, "source": 2}), accelerator="cpu"
    )
    assert record["pretrained"] == sha256(weights) and record["settings"]["source"] == 2
    state = net.trunk.state_dict()
    assert all(torch.equal(x, state[name].cpu()) for name, x in weights.items())
    assert record["metric"] == {"left": "accuracy", "right": "accuracy"}
    assert record["data"]["kind"] == "synthetic"


def test_gates_keep_what_the_source_learned(weights):
    network = adapt.benchmark(source=2).network
    net, frozen = (find_method(m).build(network, OUTPUTS) for m in ("tssbn-frozen", "heads-only"))
    assert sum(isinstance(layer, TaskSigmoidNorm) for layer in net.modules()) == 10
    for heads in net, frozen:
        heads.double().eval().heads.requires_grad_(False)
    net.heads = frozen.heads
    x = network.example.double()
    with torch.no_grad():
        for task, y in net(x).items():
            torch.testing.assert_close(y, frozen(x)[task], rtol=0, atol=1e-10)


def test_a_source_is_trained_and_read(tmp_path, monkeypatch):
    study = script("adapt_source")
    record = study.learn(7, tmp_path / "weights", study.source(per_pair=2, epochs=1))
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    given = adapt.benchmark(source=7).network.pretrained()
    assert record["weights"] == sha256(given)
    assert json.dumps(record)
    shapes = {name: x.shape for name, x in adapt.trunk().state_dict().items()}
    assert {name: x.shape for name, x in given.items()} == shapes


def test_weights_that_are_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("TSSBN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    of_run = Run("adapt", "hps")  # which needs none yet
    message = r"needs adapt-source-0.pth in data/weights; `python book/studies/adapt_source.py 0`"
    with pytest.raises(FileNotFoundError, match=message):
        of_run.benchmark.network.trunk()
    adapt.benchmark(pretrained="none").network.trunk()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pretrained": "hub"}, "pretrained='hub' must be one of 'source' for what was learned"),
    ],
)
def test_a_wrong_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_benchmark("adapt")(**arguments)
