"""A balancing on a few numbers makes the steps that it makes of a network."""

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")

from balancings import needing

from tssbn.training.balancing.probe import Probe

CENTRES = torch.tensor([[-1.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
STEEP = torch.tensor([[1.0, 4.0], [4.0, 1.0]], dtype=torch.float64)
SCALE = torch.tensor([20.0, 1.0], dtype=torch.float64)
POINT = torch.tensor([0.2, 0.6], dtype=torch.float64)


def losses(theta):
    return SCALE * (1 + ((theta - CENTRES).square() * STEEP).sum(-1) / 2)


GRADIENTS = torch.autograd.functional.jacobian(losses, POINT)


def near(one, other, **tolerance):
    torch.testing.assert_close(one, other, **(tolerance or {"rtol": 1e-10, "atol": 0}))


def test_a_step_gives_the_direction_and_moves_against_it():
    probe = Probe("sum", POINT, losses)
    near(probe.step(), GRADIENTS.sum(0))
    near(probe.theta, POINT)
    d = probe.step(0.25)
    near(probe.theta, POINT - 0.25 * d / d.norm())


@pytest.mark.parametrize(
    ("name", "weights"), [("uw", 0.5 / losses(POINT)), ("si", 1 / losses(POINT))]
)
def test_what_is_learned_settles_where_theta_stays(name, weights):
    probe = Probe(name, POINT, losses)
    near(probe.settle(300, lr=0.1), weights @ GRADIENTS, rtol=1e-3, atol=0)
    near(probe.theta, POINT)


@pytest.mark.parametrize("name", needing(["pcgrad", "imtl-g"]))
def test_surgery_stops_on_the_pareto_set(name):
    path = Probe(name, torch.tensor([1.7, -0.9], dtype=torch.float64), losses).path(300, decay=0.98)
    a, b = torch.autograd.functional.jacobian(losses, path[-1])
    assert path.shape == (301, 2)
    assert torch.cosine_similarity(a, b, 0) < -0.99


def test_options_are_those_of_the_balancing():
    near(Probe("cagrad", POINT, losses, c=0.0).step(), GRADIENTS.sum(0), rtol=1e-9, atol=0)
    with pytest.raises(ValueError, match="balance"):
        Probe("no such", POINT, losses)
