"""Parameter groups."""

import pytest
import torch
from inputs import NORMS
from torch import nn

import tssbn
from tssbn.optim import spare_vectors


def net(norm="sigmoid", affine="auto"):
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
    nn.init.uniform_(trunk[3].weight)
    trunk = tssbn.task_specific(trunk, ("a", "b"), NORMS[norm], affine)
    return tssbn.MultiTask(trunk, {task: nn.Conv2d(4, 1, 1) for task in ("a", "b")})


def test_every_parameter_is_in_one_group():
    model = net()
    shared, gates = tssbn.param_groups(model, lr=0.1, weight_decay=1e-4)
    grouped = [id(p) for p in (*shared["params"], *gates["params"])]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    assert [id(p) for p in gates["params"]] == [id(model.trunk[i].gamma) for i in (1, 3)]


def test_gates_learn_a_hundred_times_faster_and_never_decay():
    shared, gates = tssbn.param_groups(net(), lr=0.1, weight_decay=1e-4)
    assert (shared["lr"], gates["lr"]) == (0.1, 10.0)
    assert (shared["weight_decay"], gates["weight_decay"]) == (1e-4, 0.0)
    assert tssbn.param_groups(net(), lr=0.1, multiplier=3)[1]["lr"] == pytest.approx(0.3)


def test_the_optimisers_own_weight_decay_is_left_to_it():
    groups = tssbn.param_groups(net(), lr=0.1)
    shared, gates = torch.optim.AdamW(groups, weight_decay=0.05).param_groups
    assert (shared["weight_decay"], gates["weight_decay"]) == (0.05, 0.0)


def test_frozen_gates_are_refused():
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).requires_grad_(False)
    trunk = tssbn.task_specific(trunk, ("a", "b"))
    with pytest.raises(ValueError, match="no gate is trained: the norm layers were frozen"):
        tssbn.param_groups(trunk, lr=0.1)
    trunk[1].requires_grad_(True)
    assert tssbn.param_groups(trunk, lr=0.1)[1]["params"][0].requires_grad


def test_one_step_of_plain_sgd():
    """With a gradient of one, a gate moves by 100 lr and a filter by lr."""
    model = net()
    groups = tssbn.param_groups(model, lr=0.01, weight_decay=0.0)
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(groups).step()
    for (name, after), start in zip(model.named_parameters(), before, strict=True):
        step = 1.0 if name.endswith("gamma") else 0.01
        torch.testing.assert_close(after, start - step)


def test_decay_leaves_the_gates_where_they_are():
    model = net()
    for layer in (model.trunk[1], model.trunk[3]):
        nn.init.constant_(layer.gamma, 2.0)
    optimiser = torch.optim.AdamW(tssbn.param_groups(model, lr=0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight = model.trunk[0].weight.detach().clone()
    optimiser.step()
    assert (model.trunk[1].gamma == 2.0).all()
    torch.testing.assert_close(model.trunk[0].weight, 0.95 * weight)


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_schedulers_that_set_one_rate_for_all_take_a_list(optimiser):
    """OneCycleLR, CyclicLR and SWALR forget the multiplier, unless each group gets its own rate."""
    lr = torch.optim.lr_scheduler
    momentum = {"momentum": 0.9} if optimiser is torch.optim.SGD else {}

    def ratio(make, **options):
        built = optimiser(tssbn.param_groups(net(), lr=0.1), **momentum)
        schedule = make(built, [group["lr"] for group in built.param_groups])
        for _ in range(3):
            built.step()
            schedule.step()
        shared, gates = (group["lr"] for group in built.param_groups)
        return gates / shared

    cycle = {"cycle_momentum": False}
    assert ratio(lambda o, rates: lr.OneCycleLR(o, rates, total_steps=10)) == pytest.approx(100)
    assert ratio(lambda o, rates: lr.OneCycleLR(o, rates[0], total_steps=10)) == pytest.approx(1)
    low = lambda rates: [rate / 10 for rate in rates]  # noqa: E731
    assert ratio(lambda o, rates: lr.CyclicLR(o, low(rates), rates, **cycle)) == pytest.approx(100)
    swa = torch.optim.swa_utils.SWALR
    assert ratio(lambda o, rates: swa(o, low(rates), anneal_epochs=2)) == pytest.approx(100)


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_any_optimiser_and_scheduler(optimiser):
    built = optimiser(tssbn.param_groups(net(), lr=0.1))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(built, T_max=10)
    for _ in range(5):
        built.step()
        schedule.step()
    shared, gates = (group["lr"] for group in built.param_groups)
    assert gates == pytest.approx(100 * shared) and shared == pytest.approx(0.05)


def test_tsbn_has_scale_and_bias_in_place_of_the_gate():
    for norm in "plain", "affine":
        model = net(norm)
        gates = tssbn.param_groups(model, lr=0.1)[1]["params"]
        assert [id(p) for p in gates] == [
            id(p) for i in (1, 3) for p in (model.trunk[i].gamma, model.trunk[i].beta)
        ]


def test_by_default_the_scales_of_tsbn_learn_at_the_common_rate():
    assert [group["lr"] for group in tssbn.param_groups(net("plain"), lr=0.1)] == [0.1, 0.1]
    assert tssbn.param_groups(net("plain"), lr=0.1, multiplier=100)[1]["lr"] == 10


def test_vectors_may_go_without_decay():
    """As in timm's and transformers' factories: biases, plain norms, and what a trunk names."""
    model = net()
    model.trunk.no_weight_decay = lambda: {"0.weight"}
    groups = tssbn.param_groups(model, lr=0.1, weight_decay=0.05, decay_vectors=False)
    names = {id(p): name for name, p in model.named_parameters()}
    found = {g["name"]: sorted(names[id(p)] for p in g["params"]) for g in groups}
    assert found == {
        "shared": ["heads.a.weight", "heads.b.weight"],
        "gates": ["trunk.1.gamma", "trunk.3.gamma"],
        "no decay": [
            "heads.a.bias",
            "heads.b.bias",
            "trunk.0.bias",
            "trunk.0.weight",
            "trunk.3.beta",
        ],
    }
    assert [g["weight_decay"] for g in groups] == [0.05, 0.0, 0.0]


@pytest.mark.parametrize("norm", ["sigmoid", "plain"])
def test_groups_are_split_by_what_decays_and_keep_their_rates(norm):
    model = net(norm)
    model.trunk.table = nn.Parameter(torch.ones(9, 2))  # of relative positions: a matrix
    model.trunk.bias = nn.Parameter(torch.ones(2, 2, 2))
    groups = tssbn.param_groups(model, lr=0.1, multiplier=7)
    names = {id(p): name for name, p in model.named_parameters()}
    split = spare_vectors(groups, model)
    decayed = {names[id(p)] for g in split if "weight_decay" not in g for p in g["params"]}
    assert decayed == {"trunk.0.weight", "trunk.table", "heads.a.weight", "heads.b.weight"}
    assert sum(len(g["params"]) for g in split) == len(names)
    rates = {names[id(p)]: g["lr"] for g in split for p in g["params"]}
    before = {names[id(p)]: g["lr"] for g in groups for p in g["params"]}
    assert rates == before and rates["trunk.1.gamma"] == pytest.approx(0.7)


def test_a_group_without_vectors_stays_one():
    weight = nn.Linear(2, 2, bias=False)
    (group,) = spare_vectors([{"params": [weight.weight], "lr": 1.0, "name": "x"}], weight)
    assert group == {"params": [weight.weight], "lr": 1.0, "name": "x"}


def test_the_network_names_what_must_not_decay():
    model = net(affine="preserve")
    expected = {"trunk.1.gamma", "trunk.3.gamma", "trunk.1.beta", "trunk.3.beta"}
    assert model.no_weight_decay() == expected
    assert tssbn.MultiTask(nn.Linear(2, 2), {"a": nn.Identity()}).no_weight_decay() == set()
    optim = pytest.importorskip("timm.optim")
    optimiser = optim.create_optimizer_v2(model, "adamw", lr=0.1, weight_decay=0.05)
    names = {id(p): name for name, p in model.named_parameters()}
    decayed = {
        names[id(p)] for g in optimiser.param_groups if g["weight_decay"] for p in g["params"]
    }
    assert decayed == {"trunk.0.weight", "heads.a.weight", "heads.b.weight"}


def test_the_bias_that_preserve_keeps_is_no_gate():
    model = net(affine="preserve")
    shared = tssbn.param_groups(model, lr=0.1)[0]["params"]
    assert any(p is model.trunk[3].beta for p in shared)


@pytest.mark.parametrize("name", ["linear", "hard sharing", "statistics alone"])
def test_a_model_without_gates_has_no_group_of_them(name):
    model = {
        "linear": lambda: nn.Linear(2, 2),
        "hard sharing": lambda: tssbn.MultiTask(nn.BatchNorm1d(2), {"a": nn.Linear(2, 3)}),
        "statistics alone": lambda: net("statistics"),
    }[name]()
    (shared,) = tssbn.param_groups(model, lr=0.1, weight_decay=0.01)
    assert [id(p) for p in shared.pop("params")] == [id(p) for p in model.parameters()]
    assert shared == {"name": "shared", "lr": 0.1, "weight_decay": 0.01}
    matrices, vectors = tssbn.param_groups(model, lr=0.1, decay_vectors=False)
    assert all(p.ndim > 1 for p in matrices["params"]) and vectors["weight_decay"] == 0.0
    assert len(matrices["params"]) + len(vectors["params"]) == len(list(model.parameters()))
    with pytest.raises(ValueError, match=r"multiplier=3, but \w+ has no gates: convert it"):
        tssbn.param_groups(model, lr=0.1, multiplier=3)


@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan")])
def test_rates_must_be_positive(lr):
    with pytest.raises(ValueError, match="lr="):
        tssbn.param_groups(net(), lr=lr)
    with pytest.raises(ValueError, match="multiplier="):
        tssbn.param_groups(net(), lr=0.1, multiplier=lr)
