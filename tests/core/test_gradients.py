"""Gradients of the tasks, their cosines, and CosReg."""

import math

import pytest
import torch
from settings import DEVICE
from torch import nn

from tssbn.gradients import cosines, orthogonality, task_gradients

EXACT = {"dtype": torch.float64, "device": DEVICE}


@pytest.fixture
def net():
    """A shared layer and one head per task, smooth, so that second derivatives exist everywhere."""
    shared = nn.Linear(4, 3, **EXACT)
    heads = nn.ModuleDict({t: nn.Linear(3, 1, **EXACT) for t in ("left", "right", "both")})
    x = torch.rand(5, 4, **EXACT)

    def losses(weight=None):
        h = torch.nn.functional.linear(x, shared.weight if weight is None else weight, shared.bias)
        return {t: head(h.tanh()).square().mean() for t, head in heads.items()}

    return shared, heads, losses


def test_exact_gradients_in_the_order_given():
    a = torch.tensor([[1.0, 2.0], [3.0, 4.0]], **EXACT, requires_grad=True)
    b = torch.tensor([5.0], **EXACT, requires_grad=True)
    losses = {"z": a.square().sum() + 3 * b.sum(), "a": (a[0] * b).sum()}
    expected = torch.tensor([[2, 4, 6, 8, 3], [5, 5, 0, 0, 3]], **EXACT)
    assert torch.equal(task_gradients(losses, [a, b]), expected)
    assert torch.equal(task_gradients(list(losses.values()), iter([a, b])), expected)
    assert torch.equal(task_gradients(losses, [b, a]), expected[:, [4, 0, 1, 2, 3]])
    assert torch.equal(task_gradients(losses, a), expected[:, :4])  # one tensor, not its rows


def test_rows_add_up_to_the_gradient_of_the_sum(net):
    shared, _, losses = net
    values = losses()
    rows = task_gradients(values, shared.parameters())
    assert shared.weight.grad is None
    sum(values.values()).backward()  # the graph is still there
    total = torch.cat([p.grad.flatten() for p in shared.parameters()])
    torch.testing.assert_close(rows.sum(0), total, rtol=1e-12, atol=1e-14)


def test_a_parameter_that_a_task_does_not_reach_gets_zeros(net):
    shared, heads, losses = net
    rows = task_gradients(losses(), [heads["right"].weight, shared.bias])
    assert rows[0, :3].eq(0).all() and rows[2, :3].eq(0).all()
    assert rows[1, :3].ne(0).all() and rows[:, 3:].ne(0).all()


def test_the_graph_is_kept_only_on_request(net):
    shared, _, losses = net
    assert not task_gradients(losses(), shared.parameters()).requires_grad
    assert task_gradients(losses(), shared.parameters(), create_graph=True).requires_grad


def test_exact_cosines():
    g = torch.tensor([[3.0, 4.0], [4.0, 3.0], [-6.0, -8.0]], **EXACT)
    expected = torch.tensor([[1, 0.96, -1], [0.96, 1, -0.96], [-1, -0.96, 1]], **EXACT)
    torch.testing.assert_close(cosines(g), expected, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", ["tiny", "huge"])
def test_the_angle_survives_gradients_whose_squares_do_not(dtype, scale):
    g = torch.tensor([[3.0, 4.0], [4.0, 3.0]], dtype=dtype, device=DEVICE)
    factor = torch.finfo(dtype).tiny if scale == "tiny" else torch.finfo(dtype).max / 8
    torch.testing.assert_close(cosines(g * factor), cosines(g))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_over_millions_of_numbers_lose_no_digits(dtype):
    """Of one sign, so that a sum in the dtype of the gradients would stop growing, or drift."""
    g = torch.rand(3, 2_000_003, generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)
    found = cosines(g)
    assert found.dtype == dtype
    assert torch.equal(found, cosines(g.double()).to(dtype))
    # of independent numbers from 0 to 1, with a standard error of 0.0003
    assert cosines(g.double())[0, 1].item() == pytest.approx(0.75, abs=0.0015)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_no_cosine_is_beyond_one_and_the_diagonal_is_one(dtype):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 1, generator=generator) * torch.randn(1001, generator=generator)
    g = torch.cat([rows, torch.randn(40, 1001, generator=generator)]).to(DEVICE, dtype)
    found = cosines(g)
    assert found.abs().max() == 1 and (found.diagonal() == 1).all()
    assert torch.equal(found, found.T)


def test_zero_gradients_have_no_direction_and_nan_stays():
    g = torch.tensor([[0.0, 0.0], [1.0, 0.0]], **EXACT, requires_grad=True)
    cosine = cosines(g)
    assert torch.equal(cosine, torch.diag(torch.tensor([0.0, 1.0], **EXACT)))
    (slope,) = torch.autograd.grad(cosine.sum(), g)
    assert slope.isfinite().all()
    assert cosines(torch.tensor([[math.nan, 1.0], [1.0, 1.0]]))[0, 1].isnan()
    assert cosines(torch.tensor([[math.inf, 1.0], [1.0, 1.0]]))[0, 1].isnan()


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, math.pi / 2, 2.0, math.pi])
def test_two_tasks_are_cos_squared(angle):
    w = torch.zeros(2, **EXACT, requires_grad=True)
    losses = [2 * w[0], 7 * (math.cos(angle) * w[0] + math.sin(angle) * w[1])]
    assert orthogonality(losses, w).item() == pytest.approx(math.cos(angle) ** 2, abs=1e-15)


def test_three_tasks_by_hand():
    # Gradients (1, 0), (1, 1) and (0, 1): cosines √½, 0 and √½; two of three pairs count ½.
    w = torch.zeros(2, **EXACT, requires_grad=True)
    assert orthogonality([w[0], w[0] + w[1], w[1]], w).item() == pytest.approx(1 / 3, abs=1e-15)


@pytest.mark.parametrize("tasks", [2, 3, 7])
def test_from_orthogonal_to_parallel_is_from_zero_to_one(tasks):
    w = torch.zeros(7, **EXACT, requires_grad=True)
    assert orthogonality([w[t] for t in range(tasks)], w).item() == 0
    same = [(-1) ** t * (t + 1) * w.sum() for t in range(tasks)]  # both signs, many lengths
    assert orthogonality(same, w).item() == pytest.approx(1, abs=1e-14)


def test_it_is_the_frobenius_form_of_the_paper(net):
    shared, _, losses = net
    value = orthogonality(losses(), shared.parameters())
    columns = nn.functional.normalize(task_gradients(losses(), shared.parameters()), dim=1).T
    frobenius = torch.linalg.matrix_norm(columns.T @ columns - torch.eye(3, **EXACT), "fro") ** 2
    assert 0.01 < value < 0.99  # nothing degenerate is compared
    torch.testing.assert_close(value, frobenius / 6, rtol=1e-12, atol=0)


def test_the_scale_and_the_order_of_the_losses_do_not_matter(net):
    shared, _, losses = net
    value = orthogonality(losses(), shared.weight)
    scaled = {t: s * losses()[t] for t, s in (("right", -1e-6), ("both", 1.0), ("left", 1e6))}
    torch.testing.assert_close(orthogonality(scaled, shared.weight), value, rtol=1e-10, atol=0)


def test_double_backward_is_right(net):
    shared, _, losses = net
    weight = shared.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: orthogonality(losses(w), w), weight)
    rows = task_gradients(losses(), shared.parameters()).requires_grad_()
    assert torch.autograd.gradcheck(cosines, rows)
    assert torch.autograd.gradgradcheck(cosines, rows)


def test_descending_the_penalty_makes_the_gradients_orthogonal(net):
    shared, heads, losses = net
    parameters = [*shared.parameters(), *heads.parameters()]
    optimiser = torch.optim.SGD(parameters, lr=0.1)
    before = orthogonality(losses(), shared.weight).item()
    for _ in range(50):
        optimiser.zero_grad()
        orthogonality(losses(), shared.weight).backward()
        optimiser.step()
    assert orthogonality(losses(), shared.weight).item() < before / 2


def test_a_zero_gradient_counts_as_orthogonal_and_has_a_finite_slope():
    w = torch.tensor([1.0, 2.0], **EXACT, requires_grad=True)
    losses = {"dead": (0 * w).sum(), "a": w.square().sum(), "b": w.pow(3).sum()}
    value = orthogonality(losses, w)
    pair = orthogonality({t: losses[t] for t in ("a", "b")}, w)
    assert value.item() == pytest.approx(pair.item() / 3, rel=1e-14)  # one pair of three
    (slope,) = torch.autograd.grad(value, w)
    assert slope.isfinite().all() and slope.ne(0).any()
    dead = orthogonality([(0 * w).sum(), (0 * w).sum()], w)
    assert dead.item() == 0


def test_nan_is_not_hidden():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    assert orthogonality([w.sum(), math.nan * w.sum()], w).isnan()


W = torch.ones(2, device=DEVICE, requires_grad=True)


@pytest.mark.parametrize(
    ("losses", "parameters", "message"),
    [
        ({}, [W], "losses is empty"),
        ([W.sum()], [], "parameters is empty"),
        ({"depth": 2 * W}, [W], r"losses\['depth'\] has shape \(2,\)"),
        ([W.sum(), W.sum().detach()], [W], r"losses\[1\] has no graph"),
        ([W.sum()], [W, torch.ones(2)], r"parameters\[1\] does not require a gradient"),
        ([W.sum()], [torch.ones(2, requires_grad=True)], "none of the losses depends"),
    ],
)
def test_bad_input_is_refused(losses, parameters, message):
    with pytest.raises(ValueError, match=message):
        task_gradients(losses, parameters)


def test_one_task_has_no_angle_and_a_vector_is_no_matrix():
    with pytest.raises(ValueError, match=r"losses holds 1 task\(s\)"):
        orthogonality([W.sum()], W)
    for empty in torch.ones(2), torch.ones(2, 0), torch.ones(0, 2):
        with pytest.raises(ValueError, match=rf"gradients has shape \({empty.shape[0]},.*\(T, P\)"):
            cosines(empty)
    for dtype in torch.int64, torch.complex64:
        with pytest.raises(ValueError, match=f"gradients is {dtype}: floating-point"):
            cosines(torch.ones(2, 2, dtype=dtype))


def test_the_penalty_in_half_precision_is_that_of_its_gradients():
    w = torch.zeros(4000, dtype=torch.bfloat16, device=DEVICE, requires_grad=True)
    rows = torch.rand(2, 4000, generator=torch.Generator().manual_seed(0)).to(w)
    value = orthogonality(list(rows @ w), w)
    assert value.dtype == torch.bfloat16
    expected = torch.cosine_similarity(*rows.double(), dim=0) ** 2
    assert value == expected.to(torch.bfloat16)
