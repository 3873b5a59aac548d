"""Recipes: schedules that are torch's, what the optimiser gets, and values that are refused."""

import math
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim import lr_scheduler as schedulers

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")

from tssbn.benchmarks import Recipe
from tssbn.benchmarks.recipe import SCHEDULES

RECIPE = Recipe(epochs=7, batch=4, lr=0.3)
TORCH = {
    "constant": lambda optimiser, total: schedulers.ConstantLR(optimiser, factor=1.0),
    "step": lambda optimiser, total: schedulers.StepLR(optimiser, 2, gamma=0.5),
    "cosine": schedulers.CosineAnnealingLR,
    "poly": lambda optimiser, total: schedulers.PolynomialLR(optimiser, total, power=0.9),
    "one-cycle": lambda optimiser, total: schedulers.OneCycleLR(
        optimiser,
        [group["lr"] for group in optimiser.param_groups],
        total_steps=total,
        cycle_momentum=False,
    ),
}


def optimiser():
    """Of two groups, whose rates are 0.3 and 30."""
    parameters = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(parameters, (0.3, 30.0), strict=True)]
    return SGD(groups, lr=0.3)


def rates_of(recipe, steps):
    """The rates of both groups in every step of every epoch."""
    taken, rates = optimiser(), []
    for epoch in range(recipe.epochs):
        for step in range(steps):
            recipe.set_rates(taken, epoch, step, steps)
            rates.append([group["lr"] for group in taken.param_groups])
    return rates


def rates_of_torch(make, total):
    """Those of a scheduler of torch."""
    taken, rates = optimiser(), []
    scheduler = make(taken, total)
    for _ in range(total):
        rates.append([group["lr"] for group in taken.param_groups])
        taken.step()
        if len(rates) < total:
            scheduler.step()
    return rates


def test_every_schedule_is_compared():
    assert TORCH.keys() | {"warm-cosine"} == SCHEDULES.keys()


@pytest.mark.parametrize(("epochs", "steps"), [(300, 1), (15, 7), (6, 1), (1, 1)])
def test_the_warm_cosine_is_that_of_timm(epochs, steps):
    """Which MTLoRA takes; rates of other groups keep their multiple."""
    timm = pytest.importorskip("timm.scheduler")
    total = epochs * steps
    warm = round(total / 15)
    taken = SGD([nn.Parameter(torch.ones(1))], lr=0.3)
    cosine = timm.CosineLRScheduler(
        taken,
        t_initial=total - warm,
        lr_min=0.003,
        warmup_lr_init=0.0003,
        warmup_t=warm,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    expected = []
    for step in range(total):
        cosine.step_update(step)
        expected.append(taken.param_groups[0]["lr"])
    recipe = replace(RECIPE, schedule="warm-cosine", interval="step", epochs=epochs)
    rates = rates_of(recipe, steps)
    assert [rate for rate, _ in rates] == pytest.approx(expected, rel=1e-9)
    assert [fast for _, fast in rates] == pytest.approx([100 * rate for rate in expected])


@pytest.mark.parametrize("epochs", [1, 2, 7, 30, 200])
@pytest.mark.parametrize("name", TORCH)
def test_rates_of_epochs_are_those_of_torch(name, epochs):
    """To the last bit for the schedules of the benchmarks."""
    recipe = replace(RECIPE, schedule=name, epochs=epochs, halve_every=2)
    found, expected = rates_of(recipe, steps=3)[::3], rates_of_torch(TORCH[name], epochs)
    if name in ("constant", "step", "cosine"):
        assert found == expected
    else:
        assert found == [pytest.approx(rates, rel=1e-9) for rates in expected]


@pytest.mark.parametrize("name", [name for name in TORCH if name != "step"])
def test_rates_of_steps_are_those_of_torch(name):
    recipe = replace(RECIPE, schedule=name, interval="step")
    expected = rates_of_torch(TORCH[name], 7 * 5)
    assert rates_of(recipe, steps=5) == [pytest.approx(rates, rel=1e-9) for rates in expected]


def test_a_rate_is_halved_after_whole_epochs_whatever_the_interval():
    recipe = replace(RECIPE, schedule="step", halve_every=3)
    whole, steps = (rates_of(replace(recipe, interval=i), 4) for i in ("epoch", "step"))
    assert whole == steps
    assert [rate for rate, _ in whole] == [0.3] * 12 + [0.15] * 12 + [0.075] * 4


def test_the_rate_of_an_epoch_stays_for_its_steps():
    rates = rates_of(replace(RECIPE, schedule="cosine"), steps=4)
    assert all(rates[4 * e] == rates[4 * e + step] for e in range(7) for step in range(4))


@pytest.mark.parametrize(("interval", "warm"), [("epoch", 2), ("step", 10), ("step", 3)])
def test_warmup_is_a_ramp_that_multiplies(interval, warm):
    """As LinearLR of torch, chained with the schedule."""
    steps = 5 if interval == "step" else 1
    recipe = replace(RECIPE, schedule="cosine", warmup=warm / steps, interval=interval)

    def make(taken, total):
        cosine = schedulers.CosineAnnealingLR(taken, total)
        ramp = schedulers.LinearLR(taken, start_factor=1 / (warm + 1), total_iters=warm)
        return schedulers.ChainedScheduler([cosine, ramp])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = rates_of_torch(make, 7 * steps)
    assert rates_of(recipe, steps) == [pytest.approx(rates, rel=1e-12) for rates in expected]
    assert expected[0][0] == pytest.approx(0.3 / (warm + 1))


def test_groups_keep_their_multiple():
    rates = rates_of(replace(RECIPE, schedule="one-cycle", warmup=1.0), steps=2)
    assert all(gates == pytest.approx(100 * shared, rel=1e-12) for shared, gates in rates)


def test_adamw_decays_apart_from_the_gradient():
    p = nn.Parameter(torch.ones(()))
    recipe = replace(RECIPE, optimiser="adamw", weight_decay=0.1)
    made = recipe.make_optimiser([{"params": [p], "lr": 0.5}])
    assert type(made) is AdamW
    p.grad = torch.zeros(())
    made.step()
    assert p.item() == pytest.approx(1 - 0.5 * 0.1)


def test_frozen_parameters_are_in_no_group():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[0].requires_grad_(False)
    groups = [
        {"params": list(part.parameters()), "lr": 1.0, "name": str(i)} for i, part in enumerate(net)
    ]
    made = RECIPE.make_optimiser(groups)
    assert [group["name"] for group in made.param_groups] == ["1"]
    assert len(groups[0]["params"]) == 2  # what was given stays as it is
    net.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter is trained: every requires_grad is False"):
        RECIPE.make_optimiser(groups)


@pytest.mark.parametrize(
    ("field", "values", "right"),
    [
        ("epochs", (0, 1.5, True), "1 or more"),
        ("batch", (0, "4"), "1 or more"),
        ("halve_every", (0,), "1 or more"),
        ("min_last_batch", (0,), "1 or more"),
        ("tasks_per_pass", (0, -1), "1 or more"),
        ("lr", (0.0, -1.0, math.inf, math.nan), "positive and finite"),
        ("weight_decay", (-1.0, math.nan), "0 or more, and finite"),
        ("clip", (0.0, -1.0, math.nan), "positive, or None for no limit"),
        ("optimiser", ("lion", None), r"one of \('adam', 'adamw', 'sgd'\)"),
        ("schedule", ("linear",), "one of .*'one-cycle', 'warm-cosine'"),
        ("interval", ("batch",), r"one of \('epoch', 'step'\)"),
        ("report", ("best",), r"one of \('last', 'last-10', 'val', 'libmtl'\)"),
        ("drop_last", ("yes",), r"one of \(False, True\)"),
        ("decay_vectors", ("no",), r"one of \(False, True\)"),
        ("warmup", (-1.0, 7.0, math.nan), "0 or more and below epochs=7"),
        ("warmup", (0.5,), 'a whole number of epochs unless interval="step"'),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_can(field, values, right):
    for value in values:
        with pytest.raises(ValueError, match=rf"^{field}={value!r} must be {right}"):
            replace(RECIPE, **{field: value})


def test_a_weight_must_be_positive():
    with pytest.raises(ValueError, match="the weight of 'depth' is 0, it must be positive"):
        replace(RECIPE, weights={"depth": 0})
