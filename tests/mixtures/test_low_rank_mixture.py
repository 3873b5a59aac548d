"""MLoRE's module: one convolution in evaluation is what its branches are."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tssbn
from tssbn.mixtures.convolution import TaskConv2d
from tssbn.mixtures.low_rank import ImageRouter, LowRankExperts
from tssbn.mixtures.mlore import LowRankMixture

TASKS, C, SIZE = ("a", "b"), 8, (4, 5)
RANKS = (2, 3, 4)
CLOSE = {"rtol": 0, "atol": 1e-12}


def maps(rows=3):
    return torch.randn(rows, C, *SIZE, generator=torch.Generator().manual_seed(1)).double()


def made(**options):
    """A module all of whose numbers are drawn, statistics and norm layers too."""
    torch.manual_seed(0)
    given = {"ranks": RANKS, "top": 2, "own": 3} | options
    module = LowRankMixture(C, 20, tasks=tssbn.Tasks(TASKS), **given).double()
    tssbn.task_specific(module, TASKS, "plain")
    tasks = tssbn.Tasks(TASKS)
    with torch.no_grad():
        for part in module.modules():
            if hasattr(part, "per_task"):
                part.tasks = tasks
        for value in (*module.parameters(), *module.buffers()):
            if value.is_floating_point():
                value.uniform_(0.5, 1.5) if value.ndim == 2 else value.normal_(std=0.3)
    return module, tasks


def test_a_convolution_of_each_task():
    tasks = tssbn.Tasks(TASKS)
    layer = TaskConv2d(C, 5, 3, tasks).double()
    with tasks.running(TASKS, images=3):
        given = layer(maps().repeat_interleave(2, 0))
    for row in range(2):
        expected = F.conv2d(maps(), layer.weight[row], layer.bias[row], padding=1)
        torch.testing.assert_close(given[row::2], expected, **CLOSE)
    largest = TaskConv2d(16, 20, 3, tasks).weight.abs().max().item()
    assert 0.99 < largest * (16 * 9) ** 0.5 <= 1  # as PyTorch's convolutions start


def test_experts_are_the_weighted_sum_of_two_convolutions_each():
    experts, u, weights = LowRankExperts(C, RANKS).double(), maps(), torch.rand(3, 3).double()
    parts = zip(
        experts.down.weight.split(RANKS),
        experts.down.bias.split(RANKS),
        experts.up.split(RANKS, 1),
        experts.bias,
        strict=True,
    )
    expected = 0
    for i, (down, within, up, bias) in enumerate(parts):
        each = F.conv2d(F.conv2d(u, down, within, padding=1), up[..., None, None], bias)
        expected = expected + weights[:, i, None, None, None] * each
    torch.testing.assert_close(experts(u, weights), expected, **CLOSE)
    kernels, biases = experts.kernels()
    ranks = [int(torch.linalg.matrix_rank(k.flatten(1))) for k in kernels.detach()]
    assert ranks == list(RANKS)
    for e in range(3):
        alone = F.conv2d(u, kernels[e], biases[e], padding=1)
        torch.testing.assert_close(experts(u, torch.eye(3).double()[[e] * 3]), alone, **CLOSE)


@pytest.mark.parametrize("running", [TASKS, ("b",)])
def test_folded_is_branch_by_branch_in_evaluation(running):
    module, tasks = made()
    module.eval()
    with tasks.running(running, images=3):
        u = module.first(maps().repeat_interleave(len(running), 0))
        weights, share = module.router(u)
        branches, folded = module.branches(u, weights, share), module.folded(u, weights, share)
    assert branches.std() > 0.1 and (weights > 0).sum(1).tolist() == [2] * len(u)
    torch.testing.assert_close(folded, branches, rtol=1e-10, atol=1e-10)
    for border in (..., 0), (..., 0, slice(None)), (..., -1):
        torch.testing.assert_close(folded[border], branches[border], rtol=1e-12, atol=1e-12)


def test_stacked_tasks_are_each_task_alone():
    module, tasks = made()
    module.eval()
    with tasks.running(TASKS, images=3):
        given = module(maps().repeat_interleave(2, 0))
    for row, task in enumerate(TASKS):
        with tasks.running(task):
            torch.testing.assert_close(given[row::2], module(maps()), **CLOSE)


def test_statistics_are_of_each_task_in_training_too():
    module, tasks = made()
    torch.manual_seed(0)
    with tasks.running(TASKS, images=3):
        u = module.first(maps().repeat_interleave(2, 0))
        weights, share = module.router(u)
        given = module.branches(u, weights, share)
    for row in range(2):
        with tasks.running(TASKS[row]):
            alone = module.branches(u[row::2], weights[row::2], share[row::2])
        torch.testing.assert_close(given[row::2], alone, **CLOSE)


def test_the_general_convolution_learns_and_sends_no_gradient():
    module, tasks = made()
    u = maps().requires_grad_()
    nothing = torch.zeros(3, 3).double(), torch.zeros(3, 1).double()
    with tasks.running("a"):
        module.branches(u, *nothing).square().sum().backward()
    assert module.general.weight.grad.any()
    assert u.grad is None or not u.grad.any()


def test_experts_of_rank_0_leave_the_bias_of_their_norm():
    module, tasks = made()
    module.eval()
    for value in module.experts.parameters():
        nn.init.zeros_(value)
    with tasks.running("b"):
        u = module.first(maps())
        weights, share = module.router(u)
        norm = module.norm
        scale = norm.gamma[1] / (norm.running_var[1] + norm.eps).sqrt()
        constant = norm.beta[1] - norm.running_mean[1] * scale
        own = module.own_up(module.own_down(u))
        expected = constant[:, None, None] + share[..., None, None] * own + module.general(u)
        torch.testing.assert_close(module.branches(u, weights, share), expected, **CLOSE)
        torch.testing.assert_close(module.folded(u, weights, share), expected, **CLOSE)


def test_an_image_is_routed_by_its_mean_and_by_where_things_are():
    torch.manual_seed(0)
    router = ImageRouter(C, 20, experts=4, top=2, tasks=tssbn.Tasks(("a",))).double().eval()
    u = maps()
    weights, share = router(u)
    assert weights.shape == (3, 4) and share.shape == (3, 1)
    assert ((weights > 0).sum(1) == 2).all() and (weights.sum(1) < 1).all()
    assert torch.equal(router(u)[0], weights)  # nothing is drawn in evaluation
    moved = u.flip(3)
    nn.init.zeros_(router.shrink.weight)
    torch.testing.assert_close(router(moved)[0], router(u)[0], **CLOSE)  # the mean alone is left
    assert not torch.allclose(weights, router(u)[0])


def test_in_training_logits_are_drawn_with_the_spread_of_the_image():
    torch.manual_seed(0)
    router = ImageRouter(C, 20, experts=4, top=4, tasks=tssbn.Tasks(("a",))).double()
    u = maps()
    assert not torch.equal(router(u)[0], router(u)[0])
    with torch.no_grad():
        router.last.weight[:, 4:8] = 0
        router.last.bias[:, 4:8] = 0
    drawn = router(u)[0]
    torch.testing.assert_close(drawn, router.eval()(u)[0], **CLOSE)
