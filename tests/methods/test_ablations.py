"""TSσBN with an ingredient taken away or exchanged."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from asserts import assert_same_outputs
from torch import nn

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")

from tssbn.__main__ import main
from tssbn.cost import parameters
from tssbn.methods import METHODS, Network, find_method, hard_sharing, task_norm
from tssbn.methods.ablations import GATES, build
from tssbn.norm import TaskAffineNorm, TaskSpecificNorm
from tssbn.records.table import table
from tssbn.training.run import Run
from tssbn.training.settings import options_of

ABLATIONS = [name for name, place in METHODS.items() if ".ablations:" in place]
OUTPUTS = {"a": 2, "b": 1}
FORMS = {  # each written down once more
    "sigmoid": lambda g: 1 / (1 + torch.exp(-g)),
    "tanh": lambda g: (torch.exp(g) - torch.exp(-g)) / (torch.exp(g) + torch.exp(-g)),
    "softplus": lambda g: torch.log1p(torch.exp(g)),
    "clamp": lambda g: g.where(g > 0, 0).where(g < 1, 1),
    "none": lambda g: g,
}
STARTS = {"none": 1.0}  # all others: 0.5


def trunk():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    ).double()


def head(channels):
    return nn.Conv2d(5, channels, 1).double()


X = torch.rand(6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
NETWORK = Network(trunk, head, X[:2])


def made(builder, **options):
    torch.manual_seed(0)
    return builder(NETWORK, OUTPUTS, **options)


def layers(net):
    return [layer for layer in net.modules() if isinstance(layer, TaskSpecificNorm)]


def stir(net):
    """Gates on both sides of every bound."""
    with torch.no_grad():
        for layer in layers(net):
            layer.gamma.normal_(std=2)
            if layer.beta is not None:
                layer.beta.normal_()
    return net


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("gate", GATES)
def test_scales_start_alike(gate, bias):
    net = made(build, gate=gate, bias=bias)
    assert len(layers(net)) == 2
    for layer in layers(net):
        weight, shift = layer.weight_and_bias(slice(0, 2))
        assert (weight - STARTS.get(gate, 0.5)).abs().max() < 1e-15
        assert shift.eq(0).all() if bias else shift is None


@pytest.mark.parametrize("gate", [gate for gate in GATES if gate != "none"])
def test_at_the_start_every_form_is_the_network_of_tssbn(gate):
    assert_same_outputs(made(build, gate=gate)(X), made(task_norm.build)(X))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("gate", GATES)
def test_each_task_has_the_scale_of_the_formula(gate, bias, training):
    net = stir(made(build, gate=gate, bias=bias)).train(training)
    outputs = net(X)
    for t, task in enumerate(OUTPUTS):
        x = X
        for layer in net.trunk:
            if isinstance(layer, TaskSpecificNorm):
                zeros = torch.zeros(x.shape[1]).double()
                x = F.batch_norm(x, zeros, zeros + 1, training=training)
                x = x * FORMS[gate](layer.gamma[t])[:, None, None]
                if bias:
                    x = x + layer.beta[t][:, None, None]
            else:
                x = layer(x)
        assert torch.allclose(outputs[task], net.heads[task](x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "norm"),
    [({"gate": "sigmoid"}, "sigmoid"), ({"gate": "none", "bias": True}, "plain")],
)
def test_with_all_or_none_of_it_they_are_tssbn_and_tsbn(options, norm):
    one, other = made(build, **options), made(task_norm.build, norm=norm)
    assert {k: v.shape for k, v in one.state_dict().items()} == {
        k: v.shape for k, v in other.state_dict().items()
    }
    stir(one)
    other.load_state_dict(one.state_dict())
    assert_same_outputs(one(X), other(X))
    assert_same_outputs(one.eval()(X), other.eval()(X))


@pytest.mark.parametrize("gate", GATES)
def test_a_copy_is_the_same_network(gate):
    net = stir(made(build, gate=gate, bias=gate == "sigmoid"))
    net(X)  # statistics
    expected = net.eval()(X)
    assert_same_outputs(copy.deepcopy(net)(X), expected)
    assert_same_outputs(pickle.loads(pickle.dumps(net))(X), expected)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    fresh = made(build, gate=gate, bias=gate == "sigmoid")
    fresh.load_state_dict(torch.load(file))
    assert_same_outputs(fresh.eval()(X), expected)


def test_slopes_at_and_beyond_the_bounds():
    """A clamped gate that has left [0, 1] gets no gradient; every other form gets one."""
    slopes = {}
    for gate in GATES:
        layer = layers(made(build, gate=gate))[0]
        with torch.no_grad():
            layer.gamma[0] = torch.tensor([-3.0, -0.5, 0.25, 3.0]).double()
        layer.weight_and_bias(slice(0, 1))[0].sum().backward()
        slopes[gate] = layer.gamma.grad
    assert slopes["clamp"].tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
    assert slopes["none"].tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]
    for gate in "sigmoid", "tanh", "softplus":
        assert (slopes[gate][0] > 0).all() and (slopes[gate][1] == 0).all()
        assert (slopes[gate] <= 1).all()


def test_ranges_of_the_forms():
    gamma = torch.tensor([-30.0, -0.5, 0.5, 30.0], dtype=torch.float64)
    bounds = {"sigmoid": (0, 1), "tanh": (-1, 1), "clamp": (0, 1), "softplus": (0, 30)}
    for gate, limits in bounds.items():
        layer = layers(made(build, gate=gate))[0]
        weight = layer.scales(gamma)
        ends = weight[[0, -1]].tolist()
        assert weight.diff().min() >= 0
        assert ends == pytest.approx(limits, abs=1e-9)


def test_only_what_a_form_has_is_trained():
    shared = parameters(made(hard_sharing.METHOD.build))
    norms = 2 * (4 + 5)  # of one network: scale and bias of each channel
    expected = {
        "statistics": shared,
        "affine": shared + norms,  # two tasks instead of one
        "tsbn-no-bias": shared,  # two scales instead of scale and bias
        "tssbn-bias": shared + norms,
        "tanh": shared,
        "softplus": shared,
        "clamp": shared,
    }
    assert {name: parameters(made(find_method(name).build)) for name in ABLATIONS} == expected


def test_statistics_alone_have_no_parameter_of_a_task():
    net = made(find_method("statistics").build)
    names = dict(net.trunk.named_parameters())
    assert all(parameter.shape[0] in (4, 5) for parameter in names.values())  # channels, not tasks
    assert not any("gamma" in name or "beta" in name for name in names)
    assert net.state_dict()["trunk.1.running_mean"].shape == (2, 4)


@pytest.mark.parametrize("name", ABLATIONS)
def test_gates_learn_at_their_own_rate(name):
    net = made(find_method(name).build)
    groups = find_method(name).groups(net, lr=0.25)
    everything = [id(p) for group in groups for p in group["params"]]
    assert sorted(everything) == sorted(map(id, net.parameters()))
    if name == "statistics":
        assert [group["lr"] for group in groups] == [0.25]
        return
    shared, gates = groups
    multiplier = 1 if name == "affine" else 100
    assert (shared["lr"], gates["lr"], gates["weight_decay"]) == (0.25, 0.25 * multiplier, 0)
    owned = [layer.gamma for layer in layers(net)]
    if name == "affine":  # the β of a σ layer is no gate and learns at the common rate
        owned += [layer.beta for layer in layers(net)]
    assert sorted(map(id, gates["params"])) == sorted(map(id, owned))
    assert find_method(name).groups(net, 0.25, multiplier=10.0)[1]["lr"] == 2.5


def test_a_gate_that_is_not_there():
    with pytest.raises(ValueError, match="gate='relu' is unknown, use one of sigmoid, tanh"):
        made(build, gate="relu")


def test_every_layer_of_an_ablation_is_exchanged():
    for name in "tanh", "softplus", "clamp":
        kinds = {
            type(layer).__bases__[0].__name__ for layer in layers(made(find_method(name).build))
        }
        assert kinds == {name.capitalize()}
        assert all(
            isinstance(layer, TaskAffineNorm) for layer in layers(made(find_method(name).build))
        )


def test_they_are_methods_like_the_others(capsys):
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    for name in ABLATIONS:
        assert f"{name} ({find_method(name).title})" in out
    assert options_of(find_method("clamp").groups) == {"multiplier": 100.0}
    named = Run("rooms", "clamp", 1, {"multiplier": 10}).name
    assert named == "rooms/clamp-1-multiplier=10"


def test_a_table_has_a_row_for_each(capsys):
    record = {
        "benchmark": "rooms", "seed": 0, "finished": True, "settings": {}, "options": {},
        "recipe": {"epochs": 1, "report": "last"}, "metric": {"depth": "absolute"},
        "directions": {"depth": False}, "precision": "32", "device": "cpu", "parameters": 10,
        "macs": 20,
        "data": {"kind": "synthetic", "splits": {
            "train": {"sha256": "0", "samples": 2, "official": None}}},
    }  # fmt: skip
    values = {"stl": 0.5, "clamp": 0.4, "statistics": 0.6}
    rows = table(
        "rooms",
        [
            record | {"method": m, "epochs": [{"epoch": 1, "test": {"depth": {"absolute": v}}}]}
            for m, v in values.items()
        ],
    ).rows
    found = {row.title: row.delta.mean for row in rows if row.delta is not None}
    assert found == pytest.approx({"STL": 0, "clamp for σ": 20, "statistics only": -20})
