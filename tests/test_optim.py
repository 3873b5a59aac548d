"""Parameter groups."""

import pytest
import torch
from torch import nn

import tssbn


def net(norm="sigmoid", affine="auto"):
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4))
    nn.init.uniform_(trunk[3].weight)
    trunk = tssbn.task_specific(trunk, ("a", "b"), norm=norm, affine=affine)
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


def test_the_bias_that_preserve_keeps_is_no_gate():
    model = net(affine="preserve")
    shared = tssbn.param_groups(model, lr=0.1)[0]["params"]
    assert any(p is model.trunk[3].beta for p in shared)


def test_a_model_without_gates_is_refused():
    for model in nn.Linear(2, 2), nn.BatchNorm1d(2), net("statistics"):
        with pytest.raises(ValueError, match="has no gates: convert it"):
            tssbn.param_groups(model, lr=0.1)


@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan")])
def test_rates_must_be_positive(lr):
    with pytest.raises(ValueError, match="lr="):
        tssbn.param_groups(net(), lr=lr)
    with pytest.raises(ValueError, match="multiplier="):
        tssbn.param_groups(net(), lr=0.1, multiplier=lr)
