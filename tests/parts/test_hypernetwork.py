"""Adapters that a hypernetwork generates: what they are in the cases that can be told exactly."""

import pytest
import torch
from torch import nn

import tssbn
from tssbn.peft import bottleneck
from tssbn.peft.hypernetwork import Code, Factors, GeneratedAdapter, TaskEmbedding

NAMES = ("a", "b", "c")
WIDTH, INNER = 8, 3


@pytest.fixture
def tasks():
    torch.manual_seed(0)
    return tssbn.Tasks(NAMES)


def one_hot(tasks):
    """Codes of which each task has its own entry."""
    codes = TaskEmbedding(3, tasks)
    codes.vectors.data = torch.eye(3)
    return codes


def drawn(module):
    """All parameters drawn anew, wide enough that nothing vanishes."""
    for name, value in module.named_parameters():
        if not name.endswith("vectors"):
            nn.init.normal_(value, std=0.5)
    return module.double()


def images(tasks):
    return torch.randn(2 * len(tasks.names), 5, WIDTH, dtype=torch.float64)


def run(module, x, tasks=NAMES):
    with module.tasks.running(tasks, len(x) // len(tasks)):
        return module(x)


def test_with_one_hot_codes_and_no_biases_each_task_has_its_own_adapter(tasks):
    adapter = drawn(GeneratedAdapter(one_hot(tasks), 3, WIDTH, INNER, tasks))
    expected = bottleneck(WIDTH, INNER, tasks).double()
    for name, layer in ("down", expected.down), ("up", expected.up):
        matrix, bias = getattr(adapter, name), getattr(adapter, f"{name}_bias")
        for generator in matrix, bias:
            nn.init.zeros_(generator.bias)
        layer.weight.data, layer.bias.data = matrix.weight.data, bias.weight.data
    x = images(tasks)
    expected.tasks = tasks
    torch.testing.assert_close(run(adapter, x), run(expected, x))
    assert not torch.allclose(run(adapter, x), x)


def test_factors_of_full_width_give_any_matrix(tasks):
    whole = drawn(GeneratedAdapter(one_hot(tasks), 3, WIDTH, INNER, tasks))
    parts = drawn(GeneratedAdapter(one_hot(tasks), 3, WIDTH, INNER, tasks, inner=INNER))
    for of_whole, of_parts in (whole.down_bias, parts.down_bias), (whole.up_bias, parts.up_bias):
        of_parts.load_state_dict(of_whole.state_dict())
    unit = torch.eye(INNER, dtype=torch.float64)
    for fixed, free, matrix in (
        (parts.down.left, parts.down.right, whole.down),
        (parts.up.right, parts.up.left, whole.up),
    ):
        nn.init.zeros_(fixed.weight)
        fixed.bias.data = unit
        free.load_state_dict(matrix.state_dict())
    x = images(tasks)
    torch.testing.assert_close(run(parts, x), run(whole, x))


def test_factors_of_no_width_leave_the_biases(tasks):
    adapter = drawn(GeneratedAdapter(one_hot(tasks), 3, WIDTH, INNER, tasks, inner=0))
    x = images(tasks)
    moved = (run(adapter, x) - x).view(2, 3, 5, WIDTH)
    with tasks.running(NAMES):
        bias = adapter.up_bias(adapter.code())
    torch.testing.assert_close(moved, bias[None, :, None].expand_as(moved))
    for value in adapter.up_bias.parameters():
        nn.init.zeros_(value)
    assert torch.equal(run(adapter, x), x)


@pytest.mark.parametrize("inner", [None, 2])
def test_a_norm_whose_scale_and_shift_are_zero_is_the_identity(tasks, inner):
    adapter = drawn(GeneratedAdapter(one_hot(tasks), 3, WIDTH, INNER, tasks, inner, norm=True))
    x = images(tasks)
    y = run(adapter, x) - x
    with tasks.running(NAMES):
        codes = adapter.code()
    scale, shift = adapter.scale(codes), adapter.shift(codes)
    plain = ((y.view(2, 3, 5, WIDTH) - shift[:, None]) / scale[:, None]).flatten(0, 1)
    torch.testing.assert_close(plain.mean(-1), torch.zeros(6, 5, dtype=torch.float64))
    for generator in adapter.scale, adapter.shift:
        for value in generator.parameters():
            nn.init.zeros_(value)
    assert torch.equal(run(adapter, x), x)


def test_an_adapter_of_factors_starts_as_the_identity_and_can_learn(tasks):
    codes = Code(TaskEmbedding(6, tasks), 6, 5, 4)
    adapter = GeneratedAdapter(codes, 4, WIDTH, INNER, tasks, inner=2).double()
    x = images(tasks)
    assert torch.equal(run(adapter, x), x)
    run(adapter, x).square().sum().backward()
    assert adapter.up.left.bias.grad.abs().min() > 0 and adapter.up.left.weight.grad.any()


@pytest.mark.parametrize("inner", [1, 8, 64])
def test_factors_start_like_a_linear_layer(inner):
    torch.manual_seed(0)
    factors = Factors(4, 400, 100, inner)
    start = factors(torch.zeros(1, 4))
    assert start.std().item() == pytest.approx((1 / 300) ** 0.5, rel=0.1)


def test_the_codes_of_the_tasks_that_run_alone_are_computed(tasks):
    adapter = drawn(GeneratedAdapter(TaskEmbedding(4, tasks), 4, WIDTH, INNER, tasks))
    x, seen = images(tasks), []
    adapter.down.register_forward_hook(lambda module, args, y: seen.append(y.shape))
    every = run(adapter, x).view(2, 3, 5, WIDTH)
    some = run(adapter, x.view(2, 3, 5, WIDTH)[:, 1:].flatten(0, 1), ("b", "c"))
    torch.testing.assert_close(some.view(2, 2, 5, WIDTH), every[:, 1:])
    assert seen == [(3, INNER, WIDTH), (2, INNER, WIDTH)]


def test_the_adapter_of_one_task_runs_by_itself(tasks):
    codes = Code(TaskEmbedding(6, tasks), 6, 5, 4)
    adapter = drawn(GeneratedAdapter(codes, 4, WIDTH, INNER, tasks))
    x = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    alone = adapter.of_task("b")
    torch.testing.assert_close(alone(x), run(adapter, x, ("b",)))
    assert alone.code.embedding.vectors.shape == (1, 6)
    assert adapter.code.embedding.vectors.shape == (3, 6)
