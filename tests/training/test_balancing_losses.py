"""What the methods of losses make of given losses: the properties of their papers."""

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")
pytest.importorskip("timm")

import tiny
from balancings import FABRIC, make, step

from tssbn.training.balancing.dwa import DynamicWeights
from tssbn.training.balancing.famo import FastAdaptive
from tssbn.training.balancing.gls import geometric_mean
from tssbn.training.balancing.imtl_l import ImpartialLosses
from tssbn.training.balancing.rlw import RandomWeights
from tssbn.training.balancing.si import log_sum
from tssbn.training.balancing.stch import SmoothTchebycheff
from tssbn.training.loop import train

LOSSES = torch.tensor([2.0, 0.1, 30.0], dtype=torch.float64)


def weights_of(scalarise, losses=LOSSES):
    """∂S/∂L_t."""
    losses = losses.clone().requires_grad_()
    return torch.autograd.grad(scalarise(losses), losses)[0]


def near(one, other, rtol=1e-6, atol=1e-9):
    torch.testing.assert_close(one, torch.as_tensor(other, dtype=one.dtype), rtol=rtol, atol=atol)


def theirs(name, *arguments):
    return getattr(pytest.importorskip("torchjd.scalarization"), name)(*arguments)


def test_logarithms_weigh_by_the_loss():
    near(weights_of(log_sum), 1 / LOSSES)
    near(weights_of(geometric_mean), LOSSES.prod() ** (1 / 3) / (3 * LOSSES))
    assert weights_of(log_sum, torch.zeros(2)).isfinite().all()


def test_the_geometric_mean_is_that_of_torchjd_and_of_many_small_losses_too():
    near(geometric_mean(LOSSES), theirs("GeometricMean")(LOSSES))
    near(geometric_mean(torch.full((40,), 0.1)), 0.1)  # their product is 0 in 32 bits


def test_random_weights_are_positive_and_add_up_to_the_tasks():
    balancing = RandomWeights()
    state = torch.get_rng_state()
    drawn = torch.stack([weights_of(balancing.scalarise) for _ in range(2000)])
    assert torch.equal(torch.get_rng_state(), state)
    near(drawn.sum(1), torch.full((2000,), 3.0))
    assert (drawn > 0).all() and ((drawn.mean(0) - 1).abs() < 0.06).all()  # 4 standard errors
    other = RandomWeights()
    other.load_state_dict(balancing.state_dict())
    near(weights_of(other.scalarise), weights_of(balancing.scalarise))


def test_dynamic_weights_are_those_of_torchjd():
    ours, other = DynamicWeights(3).double(), theirs("DWA")
    random = torch.Generator().manual_seed(0)
    for epoch in range(4):
        steps = torch.rand(5, 3, generator=random, dtype=torch.float64) + 0.1
        for losses in steps:
            near(weights_of(ours.scalarise, losses), weights_of(other, losses))
        ours.end_epoch(dict(zip("abc", steps.mean(0).tolist(), strict=True)))
        other.step()
        assert (ours.weights == 1).all() == (epoch < 1)


def test_impartial_losses_are_those_of_torchjd_and_rest_at_one():
    ours, other = ImpartialLosses(3).double(), theirs("IMTLL", 3).double()
    for scales in ours.log_scale, other.log_scale:
        scales.data.copy_(torch.tensor([0.5, -1.0, 2.0]))
    near(ours(LOSSES), other(LOSSES))
    near(weights_of(ours), ours.log_scale.exp())
    ours.log_scale.data.copy_(-LOSSES.log())
    ours(LOSSES).backward()
    near(ours.log_scale.grad, torch.zeros(3))


def test_famo_starts_from_equal_shares_whose_weights_add_up():
    famo = FastAdaptive(3).double()
    weights = weights_of(famo.scalarise)
    near(weights * LOSSES, (weights * LOSSES).mean().expand(3))
    famo.logits.data.copy_(torch.tensor([1.0, -2.0, 0.5]))
    near(weights_of(famo.scalarise).sum(), 3.0)


def test_famo_is_that_of_torchjd():
    ours, other = FastAdaptive(3), theirs("FAMO", 3)
    random = torch.Generator().manual_seed(0)
    for _ in range(5):
        before, after = torch.rand(2, 3, generator=random) + 0.1
        near(weights_of(ours.scalarise, before), 3 * weights_of(other, before), rtol=1e-5)
        ours.after_step(lambda after=after: dict(zip("abc", after, strict=True)), FABRIC)
        other.update(after)
        near(ours.logits.data, other._w.data, rtol=1e-5, atol=1e-6)
    assert not ours.groups(0.1) and ours.logits.grad is None


def test_famo_goes_on_from_its_state():
    one, other = FastAdaptive(3), FastAdaptive(3)
    for seed in range(4):
        if seed == 2:
            other.load_state_dict(one.state_dict())
        random = torch.Generator().manual_seed(seed)
        before, after = torch.rand(2, 3, generator=random) + 0.1
        for famo in (one, other)[: 1 if seed < 2 else 2]:
            famo.scalarise(before)
            famo.after_step(lambda after=after: dict(zip("abc", after, strict=True)), FABRIC)
    assert torch.equal(one.logits, other.logits)


def test_the_second_pass_of_famo_moves_no_statistics():
    """At rest they are, bit for bit, those of the plain sum, and of as many batches."""
    runs = [tiny.run("hps", settings={"balance": name}, lr=1e-30) for name in ("sum", "famo")]
    plain, famo = (dict(train(run, accelerator="cpu").net.named_buffers()) for run in runs)
    assert plain["trunk.1.num_batches_tracked"] > 1 and plain["trunk.1.running_mean"].any()
    assert all(torch.equal(famo[name], buffer) for name, buffer in plain.items())


@pytest.mark.parametrize("mu", [0.1, 1.0])
def test_tchebycheff_begins_with_logarithms_and_is_then_that_of_torchjd(mu):
    stch = SmoothTchebycheff(3, mu=mu, warmup=2).double()
    means = {"a": 4.0, "b": 0.2, "c": 10.0}
    for _ in range(2):
        near(weights_of(stch.scalarise), 1 / LOSSES)
        stch.end_epoch(means)
    stch.end_epoch({"a": 1.0, "b": 1.0, "c": 1.0})  # too late to count
    nadir = torch.tensor(list(means.values()), dtype=torch.float64)
    other = theirs("STCH", mu, torch.ones(3).double())
    near(weights_of(stch.scalarise), 3 * weights_of(lambda x: other((x / nadir).log())))
    if mu == 1:
        near(weights_of(stch.scalarise), 3 / (nadir * (LOSSES / nadir).sum()))
    again = SmoothTchebycheff(3, mu=mu, warmup=2).double()
    again.load_state_dict(stch.state_dict())
    near(again.scalarise(LOSSES), stch.scalarise(LOSSES))


# -- GradNorm -------------------------------------------------------------------------------------


def test_gradnorm_descends_on_the_distance_of_the_lengths():
    rows = torch.tensor([[3.0, 4.0], [0.0, 1.0]], dtype=torch.float64)
    gradnorm = make("gradnorm", 2, 2, alpha=1.0).double()
    d = step(gradnorm, rows, [2.0, 2.0])
    near(d, rows.sum(0))
    near(gradnorm.weights.grad, [5.0, -1.0])  # lengths 5 and 1, both should be 3
    step(gradnorm, rows, [0.2, 2.0])  # rates 2/11 and 20/11, lengths to be 6/11 and 60/11
    near(gradnorm.weights.grad, [5.0, -1.0])
    equal = torch.eye(2, dtype=torch.float64)
    step(gradnorm, equal, [0.2, 2.0])
    near(gradnorm.weights.grad, [1.0, -1.0])  # the slow task is to rise
    step(gradnorm, equal, [1.0, 1.0])
    assert not gradnorm.weights.grad.any()


def test_weights_of_gradnorm_multiply_heads_too_and_add_up():
    gradnorm = make("gradnorm", 2, 2).double()
    gradnorm.weights.data.copy_(torch.tensor([0.5, -3.0]))
    gradnorm.after_step(dict, FABRIC)
    near(gradnorm.weights.sum().detach(), 2.0)
    assert (gradnorm.weights > 0).all()
    gradnorm.weights.data.copy_(torch.tensor([0.5, 1.5]))
    rows = torch.eye(2, dtype=torch.float64)
    near(step(gradnorm, rows), [0.5, 1.5])
    near(torch.stack([p.grad for p in gradnorm.net.own.values()]), [1.5, 4.5])
    (group,) = gradnorm.groups(0.1)
    assert group["lr"] == 0.025 and group["weight_decay"] == 0


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("dwa", {"temperature": 0.0}, "temperature=0.0 must be positive"),
        ("stch", {"mu": 0.0}, "mu=0.0 must be positive"),
        ("stch", {"warmup": 0}, "warmup=0 must be at least 1"),
        ("famo", {"weight_decay": -1.0}, "weight_decay=-1.0 must be 0 or more"),
        ("famo", {"lr": 0.0}, "lr=0.0 must be positive"),
        ("gradnorm", {"lr": 0.0}, "lr=0.0 must be positive"),
        ("gradnorm", {"layer": "x"}, "layer='x' names no module of Plane"),
    ],
)
def test_options_that_cannot_be_are_refused(name, options, said):
    with pytest.raises(ValueError, match=said):
        make(name, 2, 2, **options)


@pytest.mark.parametrize("name", ["si", "gls", "stch", "famo"])
def test_a_negative_loss_has_no_logarithm(name):
    with pytest.raises(ValueError, match=r"the loss of '1' is -0.5: a balancing that takes log"):
        step(make(name, 2, 2), torch.eye(2, dtype=torch.float64), [1.0, -0.5])


@pytest.mark.parametrize("name", ["famo", "gradnorm"])
def test_float16_is_refused_where_it_would_mislead(name):
    with pytest.raises(ValueError, match=r"precision='16' .*: take 'bf16', 'tf32' or '32'"):
        make(name, 2, 2).check("16", False)
