"""Gates that are set before training, from those of a saved run or at random, and stay."""

import hashlib
from dataclasses import replace

import pytest
import torch
from trunks import NETWORKS

pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

import tiny

from tssbn import records
from tssbn.cost import parameters
from tssbn.gates import Importance, importance
from tssbn.methods import find_method
from tssbn.methods.frozen_gates import drawn, set_gates
from tssbn.training.loop import train

OUTPUTS = {"a": 2, "b": 1, "c": 3}
TRAINED = {"multiplier": 10.0}


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A saved run of TSσBN, in the working folder; its gates are far apart."""
    monkeypatch.chdir(tmp_path)
    run = tiny.run("tssbn", settings=TRAINED)
    record = train(run).record
    records.write(run.name, record, tmp_path / "data/results")
    return records.of(run.benchmark, "tssbn", [0], TRAINED)[0]


def frozen(method, seed=0, **settings):
    """The network before its training, and after it with the record."""
    settings = settings or TRAINED
    run = tiny.run(method, seed=seed, settings=settings)
    torch.manual_seed(seed)
    net = run.method.build(run.benchmark.network, {"parts": 3, "depth": 1})
    run.method.start(net, run, **run.options)
    return net, *train(run)


def test_they_start_from_the_filters_and_heads_of_tssbn():
    networks = []
    for method in "tssbn", "random-gates", "shuffled-gates":
        torch.manual_seed(0)
        networks.append(find_method(method).build(NETWORKS["segnet"][0], OUTPUTS))
    states = [net.state_dict() for net in networks]
    assert all(torch.equal(value, state[n]) for state in states for n, value in states[0].items())
    gates = [p.numel() for n, p in networks[0].named_parameters() if n.endswith("gamma")]
    for net in networks[1:]:
        assert parameters(net) == parameters(networks[0]) - sum(gates)
        [group] = find_method("random-gates").groups(net, lr=0.5)
        assert sum(p.numel() for p in group["params"]) == parameters(net)


@pytest.mark.parametrize("method", ["random-gates", "shuffled-gates"])
def test_gates_stay_and_all_else_learns(saved, method):
    before, after, record = frozen(method)
    then = dict(before.named_parameters())
    # A bias before a norm layer has no effect, and so no gradient.
    idle = {"trunk.0.bias", "trunk.3.bias"}
    for name, value in after.named_parameters():
        if name not in idle:
            assert torch.equal(value, then[name]) == name.endswith("gamma"), name
    assert record["gates"]["epochs"]["1"] == record["gates"]["epochs"]["3"]
    assert record["options"] == TRAINED
    packed = saved["gates"]["epochs"]["3"]
    assert record["gates_of"] == {
        "run": "tiny/tssbn-0-multiplier=10",
        "sha256": hashlib.sha256(packed.encode()).hexdigest(),
    }


def test_random_gates_are_values_of_their_layer(saved):
    trained = saved.gates().by_layer()
    net, *_ = frozen("random-gates")
    given = importance(net).by_layer()
    assert given.keys() == trained.keys()
    for name, values in given.items():
        near = (values.flatten()[:, None] - trained[name].flatten()).abs().min(1).values
        assert near.max() < 1e-6  # gates are of single precision
    again, *_ = frozen("random-gates")
    assert torch.equal(importance(again).values, importance(net).values)


def test_draws_have_the_marginal_of_a_layer():
    """Each value comes as often as it is there, whatever task or channel it was of."""
    values = torch.tensor([[0.1, 0.1, 0.2, 0.2], [0.1, 0.3, 0.4, 0.4]], dtype=torch.float64)
    other = torch.full((2, 5), 0.9, dtype=torch.float64)
    values = torch.cat([values.repeat(1, 2000), other], dim=1)
    given = drawn(Importance(values, ("a", "b"), {"wide": 8000, "other": 5})).by_layer()
    assert given["other"].eq(0.9).all()
    for row in given["wide"]:  # 8,000 draws: four standard errors are at most 0.023
        for value, share in ((0.1, 3 / 8), (0.2, 2 / 8), (0.3, 1 / 8), (0.4, 2 / 8)):
            assert row.eq(value).double().mean().item() == pytest.approx(share, abs=0.023)
    assert not torch.equal(*given["wide"])


def test_shuffled_gates_are_those_of_the_task_and_layer_in_another_order(saved):
    trained, (net, *_) = saved.gates().by_layer(), frozen("shuffled-gates")
    moved = False
    for name, values in importance(net).by_layer().items():
        ours, theirs = values.sort(dim=1).values, trained[name].sort(dim=1).values
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
        moved |= not torch.allclose(values, trained[name], atol=1e-4)
    assert moved


def test_another_seed_reads_the_run_of_that_seed(saved):
    with pytest.raises(FileNotFoundError, match="those of tiny/tssbn-1-multiplier=10, which is"):
        frozen("random-gates", seed=1)


def test_gates_without_a_saved_run():
    net, after, record = frozen("random-gates", std=2.0)
    gammas = {n: p for n, p in net.named_parameters() if n.endswith("gamma")}
    assert all(torch.equal(after.get_parameter(n), p) for n, p in gammas.items())
    assert "gates_of" not in record and record["options"] == {"std": 2}
    torch.manual_seed(0)
    wide = find_method("random-gates").build(NETWORKS["segnet"][0], OUTPUTS)
    find_method("random-gates").start(wide, None, std=2.0)
    values = torch.cat([p.flatten() for n, p in wide.named_parameters() if n.endswith("gamma")])
    assert values.mean().item() == pytest.approx(0, abs=4 * 2 / len(values) ** 0.5)
    assert values.std().item() == pytest.approx(2, abs=4 * 2 / (2 * len(values)) ** 0.5)


def test_gates_that_were_rounded_to_an_end_come_back_as_they_were_saved():
    net = find_method("random-gates").build(NETWORKS["celeba"][0], OUTPUTS).double()
    here = importance(net)
    levels = torch.arange(here.values.numel()).reshape(here.values.shape) % 256
    gates = replace(here, values=levels.double() / 255)
    set_gates(net, gates)
    packed = [records.pack_gates({1: one}) for one in (gates, importance(net))]
    assert packed[0] == packed[1]
    assert importance(net).values.logit().abs().max() < 7


def test_what_is_refused(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="shuffled gates are those of tiny/tssbn-0, whi"):
        train(tiny.run("shuffled-gates"))
    with pytest.raises(ValueError, match=r"std=-1 must be positive, and without multiplier=None"):
        train(tiny.run("random-gates", settings={"std": -1}))
    with pytest.raises(ValueError, match="std=1 must be positive, and without multiplier=10"):
        train(tiny.run("random-gates", settings={"std": 1, **TRAINED}))
    folder = tmp_path / "data/results"
    records.write("tiny/tssbn-0", {**saved.record, "finished": False}, folder)
    with pytest.raises(ValueError, match="tiny/tssbn-0 is not finished: random gates are those"):
        train(tiny.run("random-gates"))
    net = find_method("random-gates").build(NETWORKS["celeba"][0], OUTPUTS)
    with pytest.raises(ValueError, match="the gates are of another network: Importance"):
        set_gates(net, saved.gates())
