"""Penalties at their ends: even and uneven use, tasks that are alike or apart."""

import math

import pytest
import torch

from tssbn.methods import m3vit, mod_squad
from tssbn.mixtures.penalties import mutual_information, unevenness
from tssbn.mixtures.routing import Routes


@pytest.mark.parametrize("experts", [2, 3, 16])
def test_even_use_is_0_and_use_of_one_expert_is_their_number(experts):
    even, one = torch.full((experts,), 0.7).double(), torch.zeros(experts).double()
    one[-1] = 5
    assert unevenness(even) == 0
    assert unevenness(one).item() == pytest.approx(experts, rel=1e-14)


def test_unevenness_is_variance_over_the_mean_squared_whatever_the_unit():
    use = torch.rand(4, 6).double()
    expected = use.var(-1) / use.mean(-1).square()
    torch.testing.assert_close(unevenness(use), expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(unevenness(1e6 * use), expected, rtol=1e-13, atol=0)


def test_a_single_expert_is_used_evenly():
    assert unevenness(torch.tensor([3.0])) == 0


def test_tasks_that_use_experts_alike_share_no_information():
    use = torch.rand(3, 1).double() * torch.rand(1, 5).double()
    assert abs(mutual_information(use)) < 1e-15


@pytest.mark.parametrize("tasks", [2, 3, 5])
def test_tasks_of_experts_of_their_own_share_the_logarithm_of_their_number(tasks):
    use = torch.eye(tasks).double().repeat_interleave(2, 1) * torch.rand(2 * tasks).double()
    use = use / use.sum(1, keepdim=True)
    assert mutual_information(use).item() == pytest.approx(math.log(tasks), rel=1e-14)


def test_the_information_has_bounds():
    for tasks, experts in (2, 7), (7, 2), (4, 4):
        for power in 1, 4, 16:
            found = mutual_information(torch.rand(tasks, experts).double() ** power)
            assert 0 <= found <= math.log(min(tasks, experts))


def drawn(tasks=3, top=2):
    """Routes of two images, three tasks and five tokens over four experts."""
    p = torch.randn(2, tasks, 5, 4).double().softmax(-1)
    places = p.topk(top, -1).indices
    return Routes(p, torch.zeros_like(p).scatter(-1, places, p.gather(-1, places)))


def test_m3vit_counts_weights_and_tokens_of_each_task():
    routes = drawn()
    expected = 0.0
    for task in range(3):
        used = routes.weights[:, task].reshape(-1, 4)
        for use in used.sum(0), (used > 0).double().sum(0):
            expected += (use.var() / use.mean() ** 2).item()
    assert m3vit.measure(routes).item() == pytest.approx(expected, rel=1e-13)


def test_loads_have_no_gradient():
    weights = drawn().weights.requires_grad_()
    m3vit.measure(Routes(weights, weights)).backward()
    importance = weights.detach().requires_grad_()
    unevenness(importance.sum((0, 2))).sum().backward()
    torch.testing.assert_close(weights.grad, importance.grad, rtol=0, atol=1e-15)


def test_mod_squad_takes_all_probabilities_and_not_the_largest_alone():
    routes = drawn()
    p = routes.probabilities.sum((0, 2)) / 10 / 3
    expected = (p * (p / p.sum(1, keepdim=True) / p.sum(0)).log()).sum()
    assert mod_squad.measure(routes).item() == pytest.approx(-expected.item(), rel=1e-12)
