"""What the methods of gradients make of given gradients: the properties of their papers."""

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")
pytest.importorskip("scipy")

from balancings import FABRIC, combine, make, needing, step
from torch.nn.functional import normalize

MEANS = ("mgda", "cagrad", "imtl-g", "imtl", "aligned-mtl", "upgrad")  # times T
SUMS = ("pcgrad", "graddrop", "gradvac")
FAIR = ("nash-mtl", "fairgrad")
C = 0.4


def random_rows(tasks=3, size=20, seed=0, spread=1.0):
    """Gradients of different lengths, two of which are in conflict."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, size, generator=random, dtype=torch.float64)
    rows[-1] -= rows[0]
    return rows * torch.logspace(-spread / 2, spread / 2, tasks, dtype=torch.float64)[:, None]


def near(one, other, rtol=1e-6, atol=1e-9):
    torch.testing.assert_close(one, torch.as_tensor(other, dtype=one.dtype), rtol=rtol, atol=atol)


ORTHOGONAL = torch.diag(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))


@pytest.mark.parametrize("tasks", [1, 4])
@pytest.mark.parametrize("name", needing(MEANS + SUMS))
def test_tasks_that_agree_have_the_plain_sum(name, tasks):
    g = random_rows(1)
    factor = (1 + C) / (1 + C**2) if name == "cagrad" else 1
    near(combine(name, g.expand(tasks, -1)), factor * tasks * g[0])


@pytest.mark.parametrize("name", needing(MEANS + FAIR))
def test_the_order_of_the_tasks_does_not_matter(name):
    rows = random_rows(4)
    near(combine(name, rows[[2, 0, 3, 1]]), combine(name, rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", needing(MEANS + SUMS + FAIR))
def test_heads_get_their_own_gradient(name):
    balancing = make(name, 3, 20)
    step(balancing, random_rows())
    assert [p.grad.item() for p in balancing.net.own.values()] == [3.0] * 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pcgrad", [1, 2, 4]),
        ("graddrop", [1, 2, 4]),
        ("gradvac", [1, 2, 4]),
        ("upgrad", [1, 2, 4]),
        ("aligned-mtl", [1, 1, 1]),
        ("nash-mtl", [3**-0.5] * 3),
        ("imtl-g", [12 / 7] * 3),  # w = 4/7, 2/7, 1/7
        ("mgda", [3 * 16 / 21, 3 * 8 / 21, 3 * 4 / 21]),  # w = 16/21, 4/21, 1/21
    ],
)
def test_gradients_at_right_angles(name, expected):
    if name not in ("graddrop", "mgda"):
        pytest.importorskip("torchjd")
    near(combine(name, ORTHOGONAL), expected)


@pytest.mark.parametrize("name", needing(MEANS + SUMS))
@pytest.mark.parametrize("scale", [1e-6, 1e3])
def test_the_step_is_as_large_as_the_gradients(name, scale):
    rows = random_rows()
    made = [make(name, *rows.shape) for _ in range(2)]
    made[1].load_state_dict(made[0].state_dict())  # the same random numbers
    near(step(made[0], scale * rows) / scale, step(made[1], rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", needing(MEANS + SUMS + FAIR))
def test_a_task_without_a_gradient_has_no_say(name):
    rows, none = random_rows(2), torch.zeros(1, 20, dtype=torch.float64)
    made = [make(name, n, 20) for n in (2, 3)]
    if hasattr(made[0], "seed"):
        made[1].seed.copy_(made[0].seed)
    alone, joint = step(made[0], rows), step(made[1], torch.cat([none, rows]))
    near(joint, alone)
    assert joint.any() and not combine(name, none.expand(2, -1)).any()


# -- one by one -----------------------------------------------------------------------------------


def test_mgda_of_two_tasks_is_the_closed_form():
    for seed in range(5):
        one, two = random_rows(2, seed=seed)
        share = ((two - one) @ two / (one - two).square().sum()).clamp(0, 1)
        near(combine("mgda", torch.stack([one, two])), 2 * (share * one + (1 - share) * two))


@pytest.mark.parametrize("tasks", [3, 10, 40])
def test_mgda_is_the_shortest_mean(tasks):
    """Then no task's gradient has a smaller product with it than itself."""
    rows = random_rows(tasks, 60)
    d = combine("mgda", rows) / tasks
    assert (rows @ d).min() >= d @ d * (1 - 1e-9)


@pytest.mark.parametrize("tasks", [3, 10])
def test_cagrad_is_the_best_for_the_worst_task_within_its_radius(tasks):
    rows = random_rows(tasks, 12, spread=0.5)
    mean = rows.mean(0)
    d = combine("cagrad", rows, c=C) / tasks * (1 + C**2)
    near((d - mean).norm(), C * mean.norm())
    random = torch.Generator().manual_seed(0)
    steps = normalize(torch.randn(20000, 12, generator=random, dtype=torch.float64))
    near_d = normalize((d - mean) + 0.05 * mean.norm() * steps)  # those close by, too
    for others in steps, near_d:
        worst = (rows @ (mean + C * mean.norm() * others).T).min(0).values
        assert worst.max() <= (rows @ d).min() + 1e-6
    near(combine("cagrad", rows, c=0.0), rows.sum(0))


def test_cagrad_far_out_has_the_direction_of_mgda():
    pair = combine("cagrad", random_rows(), c=1e4), combine("mgda", random_rows())
    near(normalize(pair[0], dim=0), normalize(pair[1], dim=0), rtol=1e-2, atol=1e-2)


def test_imtl_g_has_equal_projections_and_weights_that_add_up():
    pytest.importorskip("torchjd")
    rows = random_rows(4)
    d = combine("imtl-g", rows)
    along = normalize(rows) @ d
    near(along, along.mean().expand(4))
    near(torch.linalg.lstsq(rows.T, d[:, None]).solution.sum(), 4.0)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize("tasks", [2, 10])
def test_fairgrad_solves_its_equation(alpha, scale, tasks):
    pytest.importorskip("torchjd")
    rows = scale * random_rows(tasks, 60)
    d = combine("fairgrad", rows, alpha=alpha, max_norm=1e30)
    w = torch.linalg.lstsq(rows.T, d[:, None]).solution[:, 0]
    assert (w > 0).all()
    near((rows @ d) * w ** (1 / alpha), torch.ones(tasks))
    assert combine("fairgrad", rows, alpha=alpha).norm() <= 1 + 1e-9


def test_nash_is_fairgrad_of_one_and_as_long_as_its_limit():
    pytest.importorskip("torchjd")
    rows = random_rows()
    near(combine("nash-mtl", rows), combine("fairgrad", rows, alpha=1.0))
    for limit, length in (0.5, 0.5), (1.0, 1.0), (100.0, 3**0.5):
        near(combine("nash-mtl", rows, max_norm=limit).norm(), length)


def test_tasks_that_are_opposite_have_no_bargain_and_a_finite_step():
    pytest.importorskip("torchjd")
    g = random_rows(1)
    assert combine("nash-mtl", torch.cat([g, -g])).isfinite().all()


@pytest.mark.parametrize("name", needing(("imtl-g", "nash-mtl")))
def test_the_scale_of_one_loss_does_not_turn_the_step(name):
    rows = random_rows()
    scaled = rows * torch.tensor([[1.0], [10.0], [1.0]], dtype=torch.float64)
    near(normalize(combine(name, scaled), dim=0), normalize(combine(name, rows), dim=0))


@pytest.mark.parametrize("tasks", [2, 5, 20])
def test_upgrad_is_against_no_task(tasks):
    pytest.importorskip("torchjd")
    rows = random_rows(tasks, 30)
    d = combine("upgrad", rows)
    assert (rows @ d).min() >= -1e-8 * d.norm()
    if tasks == 2:
        near(d, combine("pcgrad", rows))
    positive = rows.abs()  # without conflict
    near(combine("upgrad", positive), positive.sum(0))


def test_steps_are_those_of_torchjd():
    aggregation = pytest.importorskip("torchjd.aggregation")
    rows = random_rows(5)
    near(combine("aligned-mtl", rows), 5 * aggregation.AlignedMTL()(rows))
    near(combine("imtl-g", rows), 5 * aggregation.IMTLG()(rows))
    lengths = (combine("mgda", rows) / 5).norm(), aggregation.MGDA()(rows).norm()
    assert 0.98 < lengths[0] / lengths[1] < 1 + 1e-9  # theirs is not exact
    near(
        combine("fairgrad", rows, alpha=2.0, max_norm=1e30),
        aggregation.FairGrad(alpha=2.0)(rows),
        rtol=1e-4,
        atol=1e-6,
    )


def test_graddrop_keeps_one_sign_by_chance():
    rows = torch.tensor([[1.0, 2.0, -1.0], [-3.0, 1.0, -2.0]], dtype=torch.float64)
    balancing = make("graddrop", 2, 3)
    steps = torch.stack([step(balancing, rows) for _ in range(2000)])
    assert steps[:, 1:].unique(dim=0).tolist() == [[3.0, -3.0]]  # where both agree
    assert steps[:, 0].unique().tolist() == [-3.0, 1.0]
    assert abs((steps[:, 0] == 1).double().mean() - 0.25) < 0.04  # 4 standard errors
    near(combine("graddrop", rows, leak=1.0), rows.sum(0))
    numbers = torch.ones(2, 3, dtype=torch.float64).cumsum(1)
    numbers[1] *= -1
    kept = step(make("graddrop", 2, 3), numbers).abs()
    near(kept, numbers[0])


def turned(one, other, cosine):
    """`one`, with so much of `other` that their cosine is this."""
    unit = other / other.norm()
    across = one - (one @ unit) * unit
    return across + cosine / (1 - cosine**2) ** 0.5 * across.norm() * unit


def test_gradvac_turns_gradients_to_their_usual_cosine():
    pytest.importorskip("torchjd")
    balancing = make("gradvac", 2, 2, beta=0.5)
    agreeing = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    near(step(balancing, agreeing), agreeing.sum(0))  # above the target of 0
    usual = 0.5 * 0.5**0.5
    one, other = rows = torch.tensor([[1.0, 0.0], [-1.0, 2.0]], dtype=torch.float64)
    near(step(balancing, rows), turned(one, other, usual) + turned(other, one, usual))
    near(combine("gradvac", rows), combine("pcgrad", rows))  # at first


def test_db_mtl_smooths_the_gradients_of_the_logarithms():
    rows, losses = random_rows(2), [4.0, 0.5]
    balancing = make("db-mtl", 2, 20, beta=0.75)
    smooth = torch.zeros_like(rows)
    for scale in 1.0, -2.0, 0.3:
        logarithms = scale * rows / torch.tensor(losses)[:, None]
        smooth = 0.75 * smooth + 0.25 * logarithms
        lengths = smooth.norm(dim=1)
        expected = (lengths.max() / lengths) @ smooth
        near(step(balancing, scale * rows, losses), expected, atol=1e-6)
    near(torch.stack([p.grad for p in balancing.net.own.values()]), [3 / 4, 3 / 0.5])
    ours, scaled = (make("db-mtl", 2, 20) for _ in range(2))
    d = step(scaled, 100 * rows, [400.0, 50.0])
    near(d, step(ours, rows, losses), atol=1e-6)


def test_imtl_scales_losses_and_heads_and_then_weighs():
    pytest.importorskip("torchjd")
    rows, losses = random_rows(), [2.0, 0.5, 1.0]
    balancing = make("imtl", 3, 20)
    with torch.no_grad():
        balancing.scales.log_scale.copy_(torch.tensor([0.5, -1.0, 0.0]))
    scale = torch.tensor([0.5, -1.0, 0.0]).exp().double()
    near(step(balancing, rows, losses), combine("imtl-g", scale[:, None] * rows))
    near(torch.stack([p.grad for p in balancing.net.own.values()]), 3 * scale)
    near(balancing.scales.log_scale.grad.double(), scale * torch.tensor(losses) - 1)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("cagrad", {"c": -1.0}, "c=-1.0 must be 0 or more"),
        ("fairgrad", {"alpha": 0.0}, "alpha=0.0 must be positive"),
        ("nash-mtl", {"max_norm": 0.0}, "max_norm=0.0 must be positive"),
        ("graddrop", {"leak": 2.0}, "leak=2.0 must be between 0 and 1"),
        ("db-mtl", {"beta": 1.0}, "beta=1.0 must be 0 or more, and less than 1"),
        ("imtl", {"lr": 0.0}, "lr=0.0 must be positive"),
    ],
)
def test_options_that_cannot_be_are_refused(name, options, said):
    if name in ("fairgrad", "nash-mtl", "imtl"):
        pytest.importorskip("torchjd")
    with pytest.raises(ValueError, match=said):
        make(name, 2, 2, **options)


@pytest.mark.parametrize("name", needing(MEANS + SUMS + FAIR + ("db-mtl",)))
def test_float16_and_gradients_that_are_not_finite_are_refused(name):
    balancing = make(name, 2, 2)
    with pytest.raises(ValueError, match="precision='16' scales the losses until"):
        balancing.check("16", False)
    rows = torch.tensor([[1.0, 0.0], [torch.nan, 1.0]], dtype=torch.float64)
    with pytest.raises(FloatingPointError, match="the gradient of '1' is not finite in a step"):
        step(balancing, rows)


def test_a_negative_loss_has_no_logarithm():
    with pytest.raises(ValueError, match=r"the loss of '1' is -0.5: a balancing that takes log"):
        step(make("db-mtl", 2, 2), torch.eye(2, dtype=torch.float64), [1.0, -0.5])


def test_steps_leave_the_random_stream_alone():
    balancing = make("graddrop", 2, 2)
    before = torch.get_rng_state()
    first, second = (step(balancing, torch.eye(2, dtype=torch.float64)) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state()) and FABRIC.world_size == 1
    assert first.isfinite().all() and second.isfinite().all()
