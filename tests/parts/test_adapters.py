"""Bottleneck and Kronecker adapters."""

import pytest
import torch
from asserts import DOUBLE, assert_stacked_is_separate
from torch import nn

import tssbn
from tssbn.peft import TaskKronecker, bottleneck, kronecker

TASKS = ("seg", "depth")


def alone(layer):
    """A layer of a single task, in double precision, of which all is drawn at random."""
    layer = layer.double()
    for value in layer.parameters():
        nn.init.normal_(value)
    return layer


def only():
    return tssbn.Tasks(("seg",))


def batch(width):
    return torch.rand(3, 5, width, dtype=torch.float64)


@pytest.mark.parametrize("make", [bottleneck, kronecker], ids=["bottleneck", "kronecker"])
def test_an_adapter_is_the_identity_at_first_and_learns(make):
    adapter, x = make(16, 8, only()).double(), batch(16)
    y = adapter(x)
    assert torch.equal(y, x)
    y.square().sum().backward()
    moved = {name for name, p in adapter.named_parameters() if p.grad.any()}
    assert (
        moved
        == {
            bottleneck: {"up.weight", "up.bias"},
            kronecker: {"up.right", "up.bias"},
        }[make]
    )


def test_with_both_matrices_zero_nothing_but_the_last_bias_learns():
    adapter = bottleneck(8, 2).double()
    for value in adapter.parameters():
        nn.init.zeros_(value)
    adapter(batch(8)).square().sum().backward()
    assert [name for name, p in adapter.named_parameters() if p.grad.any()] == ["up.bias"]


def test_adapters_of_tasks_are_those_of_all_with_their_rows():
    torch.manual_seed(0)
    own, shared, x = (
        alone(bottleneck(8, 3, tssbn.Tasks(TASKS))),
        bottleneck(8, 3).double(),
        batch(8),
    )
    net = tssbn.MultiTask(own, {task: nn.Identity() for task in TASKS})
    for t, task in enumerate(TASKS):
        for mine, theirs in zip(shared.parameters(), own.parameters(), strict=True):
            mine.data.copy_(theirs[t])
        torch.testing.assert_close(net(x)[task], shared(x), **DOUBLE)


@pytest.mark.parametrize(("n", "rank"), [(1, 2), (2, 1), (4, 3)])
def test_products_are_factored(n, rank):
    torch.manual_seed(0)
    layer, x = alone(TaskKronecker(8, 12, only(), n, rank)), batch(8)
    explicit = sum(
        torch.kron(layer.mix[0, i], layer.left[0, i] @ layer.right[0, i]) for i in range(n)
    )
    torch.testing.assert_close(layer(x), x @ explicit + layer.bias[0], **DOUBLE)
    torch.testing.assert_close(layer.matrix()[0], explicit, **DOUBLE)
    assert torch.linalg.matrix_rank(explicit) == min(8, n * n * rank)


def test_one_product_is_a_low_rank_matrix():
    layer, x = alone(TaskKronecker(6, 4, only(), n=1, rank=2)), batch(6)
    expected = layer.mix[0, 0, 0, 0] * (x @ layer.left[0, 0] @ layer.right[0, 0]) + layer.bias[0]
    torch.testing.assert_close(layer(x), expected, **DOUBLE)


def test_identity_and_rotation_multiply_complex_numbers():
    layer = alone(TaskKronecker(6, 4, only(), n=2, rank=2))
    layer.mix.data[0] = torch.tensor([[[1, 0], [0, 1]], [[0, 1], [-1, 0]]])
    layer.bias.data.zero_()
    x = batch(6)
    real, imaginary = layer.left[0] @ layer.right[0]  # (3, 2) each
    y = torch.complex(x[..., :3], x[..., 3:]) @ torch.complex(real, imaginary)
    torch.testing.assert_close(layer(x), torch.cat([y.real, y.imag], -1), **DOUBLE)


def test_stacked_tasks_are_separate_passes():
    torch.manual_seed(0)
    tasks = tssbn.Tasks(TASKS)
    trunk = nn.Sequential(kronecker(8, 4, tasks, n=2), nn.Tanh(), bottleneck(8, 3, tasks))
    net = alone(tssbn.MultiTask(trunk, {task: nn.Linear(8, 1) for task in TASKS}))
    assert_stacked_is_separate(net, batch(8))


def test_products_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="n=4 must divide the channels, 8 and 6"):
        TaskKronecker(8, 6, only(), n=4)
