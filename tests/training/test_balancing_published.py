"""Steps against published formulas worked out by other ways, and what one task must do."""

from itertools import product

import numpy as np
import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")
pytest.importorskip("scipy")

from balancings import combine, make, needing, step
from scipy.optimize import minimize_scalar
from torch.nn.functional import normalize

LOSSES = [2.0, 0.1, 30.0]


def near(one, other, rtol=1e-8, atol=1e-10):
    torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


def rows_of(tasks=3, seed=0):
    """Gradients of lengths 1 to 10, some in conflict."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, 12, generator=random, dtype=torch.float64)
    rows[-1] -= rows[0]
    return normalize(rows) * torch.logspace(0, 1, tasks, dtype=torch.float64)[:, None]


seeds = pytest.mark.parametrize("seed", range(4))


# -- the formulas ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tasks", [2, 3, 7])
@seeds
def test_imtl_g_in_the_form_of_its_paper(tasks, seed):
    """Weights but the first are g_1 Uᵀ (D Uᵀ)⁻¹, with rows g_1 - g_t of D and u_1 - u_t of U."""
    pytest.importorskip("torchjd")
    g = rows_of(tasks, seed)
    u = normalize(g)
    apart, across = g[0] - g[1:], u[0] - u[1:]
    others = torch.linalg.solve((apart @ across.T).T, across @ g[0])
    weights = torch.cat([1 - others.sum()[None], others])
    near(combine("imtl-g", g), tasks * weights @ g)


@pytest.mark.parametrize("tasks", [2, 3, 7])
@seeds
def test_aligned_mtl_makes_the_system_orthogonal(tasks, seed):
    """The rows of BG are orthogonal, all as long as the least singular value, and nearest to G.

    They are σ V Uᵀ of the singular value decomposition G = V Σ Uᵀ, and the step is their sum.
    """
    pytest.importorskip("torchjd")
    g = rows_of(tasks, seed)
    v, sigma, u = torch.linalg.svd(g, full_matrices=False)
    aligned = sigma.min() * v @ u
    near(aligned @ aligned.T, sigma.min() ** 2 * torch.eye(tasks, dtype=torch.float64))
    near(combine("aligned-mtl", g), aligned.sum(0))


@seeds
def test_cagrad_of_two_tasks_by_a_search_on_a_line(seed):
    g, c = rows_of(2, seed).numpy(), 0.4
    mean = g.mean(0)
    radius = c * np.linalg.norm(mean)

    def worst(share):
        mixed = share * g[0] + (1 - share) * g[1]
        return mixed @ mean + radius * np.linalg.norm(mixed)

    share = minimize_scalar(worst, bounds=(0, 1), method="bounded", options={"xatol": 1e-12}).x
    mixed = share * g[0] + (1 - share) * g[1]
    expected = mean + radius * mixed / np.linalg.norm(mixed)
    found = combine("cagrad", torch.from_numpy(g), c=c) / 2 * (1 + c**2)
    near(found, torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


@seeds
def test_nash_mtl_of_two_tasks_is_the_bisector(seed):
    """α_t = 1 / (‖g_t‖ √(1 + cos)) solves Mα = 1/α."""
    pytest.importorskip("torchjd")
    g = rows_of(2, seed)
    lengths, cosine = g.norm(dim=1), torch.cosine_similarity(*g, dim=0)
    near(combine("nash-mtl", g, max_norm=1e9), (1 / lengths / (1 + cosine).sqrt()) @ g, rtol=1e-6)


@seeds
def test_pcgrad_of_two_tasks_leaves_out_what_they_have_against_each_other(seed):
    pytest.importorskip("torchjd")
    one, other = rows_of(2, seed)
    conflict = (one @ other).clamp(max=0)
    expected = one + other - conflict * (other / (other @ other) + one / (one @ one))
    near(combine("pcgrad", torch.stack([one, other])), expected)


@seeds
def test_upgrad_is_the_sum_of_the_nearest_vectors_that_conflict_with_no_task(seed):
    """Of each gradient; by trying all sets of tasks that the vector is at right angles to."""
    pytest.importorskip("torchjd")
    g = rows_of(3, seed)

    def nearest(vector):
        found = []
        for chosen in product((False, True), repeat=3):
            part = g[list(chosen)]
            flat = vector - part.T @ torch.linalg.lstsq(part.T, vector[:, None]).solution[:, 0]
            if (g @ flat).min() >= -1e-9:
                found.append(flat)
        return min(found, key=lambda flat: (flat - vector).norm())

    near(combine("upgrad", g), sum(map(nearest, g)), rtol=1e-6, atol=1e-6)


# -- what all must do -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sum", "rlw", "dwa", "gls", "famo", "gradnorm", "graddrop"])
def test_a_single_task_learns_from_its_own_loss(name):
    rows = rows_of(1)
    near(step(make(name, 1, 12), rows, [3.0]), rows[0], rtol=1e-6)


@pytest.mark.parametrize(
    "name", ["uw", "si", "imtl-l", "gls", "famo", "stch", "gradnorm", "db-mtl"]
)
def test_the_order_of_the_tasks_does_not_matter(name):
    rows, order = rows_of(), [2, 0, 1]
    turned = step(make(name, 3, 12), rows[order], [LOSSES[task] for task in order])
    near(turned, step(make(name, 3, 12), rows, LOSSES), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", needing(("si", "gls", "famo", "db-mtl", "imtl-g", "nash-mtl")))
def test_the_scale_of_one_loss(name):
    """It does not turn the step, nor change that of some; the loss and its gradient are scaled."""
    factor = torch.tensor([1.0, 10.0, 1.0], dtype=torch.float64)
    losses = [loss * scale for loss, scale in zip(LOSSES, factor.tolist(), strict=True)]
    usual = step(make(name, 3, 12), rows_of(), LOSSES)
    scaled = step(make(name, 3, 12), factor[:, None] * rows_of(), losses)
    near(normalize(scaled, dim=0), normalize(usual, dim=0), rtol=1e-5, atol=1e-5)
    if name in ("si", "nash-mtl"):
        near(scaled, usual, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["mgda", "cagrad"])
def test_a_dependent_task_leaves_a_finite_step(name):
    """A third gradient that is the mean of the two others makes the products singular."""
    rows = rows_of(2)
    d = combine(name, torch.cat([rows, rows.mean(0, keepdim=True)]))
    assert d.isfinite().all() and d.any()
