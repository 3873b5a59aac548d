"""Importance, capacity, similarity and specialisation."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tssbn
from tssbn.gates import (
    Importance,
    ablated,
    capacity,
    capacity_split,
    importance,
    most_specialised,
    permuted,
    similarity,
    specialised,
)


def network():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.Conv2d(3, 2, 1), nn.GroupNorm(1, 2)))
    net = tssbn.task_specific(net, ("seg", "depth"))
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net


matrices = st.builds(
    lambda t, f, seed: torch.rand(t, f, generator=torch.Generator().manual_seed(seed)).double(),
    st.integers(1, 5),
    st.integers(5, 30),
    st.integers(0, 2**31),
)


def test_importance_reads_every_gate_in_order():
    net = network()
    found = importance(net)
    assert found.tasks == ("seg", "depth") and found.layers == {"0": 3, "1.1": 2}
    expected = torch.cat([net[0].gamma, net[1][1].gamma], dim=1).double().sigmoid()
    torch.testing.assert_close(found.values, expected)
    assert found.values.dtype is torch.float64 and not found.values.requires_grad
    torch.testing.assert_close(found.by_layer()["1.1"], expected[:, 3:])


def test_importance_does_not_see_the_frozen_scale():
    layer = nn.BatchNorm1d(3)
    nn.init.constant_(layer.weight, 7.0)
    assert (importance(tssbn.task_specific(layer, ("a",))).values == 0.5).all()


def test_importance_is_that_of_the_trunk():
    """Single-task gates in the heads are not rows of tasks."""
    trunk = tssbn.task_specific(nn.BatchNorm2d(4), ("a", "b"))
    heads = {task: tssbn.sigmoid(nn.BatchNorm2d(6)) for task in ("a", "b")}
    assert importance(tssbn.MultiTask(trunk, heads)).values.shape == (2, 4)
    both = nn.Sequential(trunk, tssbn.task_specific(nn.BatchNorm2d(4), ("a", "b")))
    with pytest.raises(ValueError, match="holds 2 converted trunks"):
        importance(both)
    with pytest.raises(ValueError, match=r"pass importance\(net\), not the BatchNorm2d"):
        capacity(nn.BatchNorm2d(4))


def test_importance_of_a_single_task_network():
    net = tssbn.sigmoid(nn.Sequential(nn.BatchNorm1d(3), nn.LayerNorm((2, 3))))
    found = importance(net)
    assert found.values.shape == (1, 9) and found.layers == {"0": 3, "1": 6}


def test_importance_errors():
    with pytest.raises(ValueError, match="Linear has no σ layers"):
        importance(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="has no σ layers"):
        importance(tssbn.task_specific(nn.BatchNorm1d(2), ("a",), norm="plain"))


def test_frame():
    pytest.importorskip("pandas")
    found = importance(network())
    frame = found.frame()
    assert list(frame.index) == ["seg", "depth"]
    assert list(frame.columns) == [("0", 0), ("0", 1), ("0", 2), ("1.1", 0), ("1.1", 1)]
    assert frame.loc["depth", ("1.1", 1)] == found.values[1, 4].item()


def test_capacity_is_the_mean():
    assert capacity([[0.2, 0.4], [1.0, 0.0]]).tolist() == pytest.approx([0.3, 0.5])


def test_capacity_split_by_hand():
    """I_0 = (3, 4, 0) on the line of I_1 = (1, 0, 0): the explained part is (3, 0, 0)."""
    shared, independent = capacity_split([[3.0, 4.0, 0.0], [1.0, 0.0, 0.0]])
    assert shared[0].item() == pytest.approx(3 / 5 * 7 / 3)
    assert independent[0].item() == pytest.approx(4 / 5 * 7 / 3)


@given(matrices, st.booleans())
def test_capacity_pythagoras(matrix, centred):
    shared, independent = capacity_split(matrix, centred)
    torch.testing.assert_close(shared**2 + independent**2, capacity(matrix) ** 2)
    assert (shared >= 0).all() and (independent >= 0).all()


@given(matrices)
def test_a_combination_of_the_others_is_all_shared(matrix):
    shared, independent = capacity_split(torch.cat([matrix, matrix.mean(0, keepdim=True)]))
    torch.testing.assert_close(shared[-1], capacity(matrix).mean())
    assert independent[-1] < 1e-12


def test_equal_tasks_do_not_upset_the_projection():
    """A without full rank: the least-squares answer, not a division by zero."""
    matrix = torch.rand(1, 8, dtype=torch.float64).repeat(3, 1)
    shared, independent = capacity_split(matrix)
    torch.testing.assert_close(shared, capacity(matrix))
    assert (independent < 1e-12).all()


def shares(matrix, centred=False):
    return torch.stack(capacity_split(matrix, centred)) / capacity(matrix)


def exact_shares(matrix):
    """‖Î_t‖ / ‖I_t‖ and the rest, by Gram and Schmidt in fractions."""

    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    def without(row, basis):
        for b in basis:
            factor = dot(row, b) / dot(b, b)
            row = [x - factor * y for x, y in zip(row, b, strict=True)]
        return row

    rows = [[Fraction(x) for x in row] for row in matrix.tolist()]
    found = []
    for t, row in enumerate(rows):
        basis = []
        for other in rows[:t] + rows[t + 1 :]:
            rest = without(other, basis)
            basis += [rest] if any(rest) else []
        rest = without(row, basis)
        own = dot(rest, rest) / dot(row, row)
        found.append((float(1 - own) ** 0.5, float(own) ** 0.5))
    return torch.tensor(found, dtype=torch.float64).T


@pytest.mark.parametrize("gap", [1.0, 1e-3, 1e-9, 1e-12])
@pytest.mark.parametrize("alike", ["two", "all"])
def test_rows_that_hardly_differ_are_told_apart_exactly(gap, alike):
    """Least squares by their coefficients, of size 1/gap, are off by eps/gap."""
    matrix, noise = torch.rand(2, 4, 12, generator=seeded(0), dtype=torch.float64)
    if alike == "two":
        matrix[2] = matrix[0] + gap * noise[0]
    else:
        matrix = 0.5 + gap * noise
    torch.testing.assert_close(shares(matrix), exact_shares(matrix), rtol=0, atol=1e-12)


@given(matrices)
def test_the_explained_part_is_that_of_least_squares(matrix):
    for t, row in enumerate(matrix):
        others = torch.cat([matrix[:t], matrix[t + 1 :]]).T
        solution = torch.linalg.lstsq(others, row[:, None], driver="gelsd").solution
        left = row - others @ solution[:, 0]
        expected = left.norm() / row.norm() * row.mean()
        condition = torch.linalg.cond(others).item() if others.numel() else 1.0
        found = capacity_split(matrix).independent[t]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-14 * condition)


@pytest.mark.parametrize("scale", [1e-13, 1e-200, 1e200])
def test_the_size_of_the_gates_does_not_matter(scale):
    matrix = torch.rand(4, 9, generator=seeded(0), dtype=torch.float64)
    some = torch.tensor([1, scale, 1, scale], dtype=torch.float64)[:, None]
    for scaled in scale * matrix, some * matrix:
        for centred in False, True:
            exact = {"rtol": 1e-12, "atol": 0}
            found, expected = (similarity(m, centred) for m in (scaled, matrix))
            torch.testing.assert_close(found, expected, **exact)
            found, expected = (shares(m, centred) for m in (scaled, matrix))
            torch.testing.assert_close(found, expected, **exact)


def test_the_smallest_numbers_have_an_angle():
    tiny = 5e-324 * torch.tensor([[3.0, 4.0], [4.0, 3.0]], dtype=torch.float64)
    expected = torch.tensor([[1, 0.96], [0.96, 1]], dtype=torch.float64)
    torch.testing.assert_close(similarity(tiny), expected, rtol=1e-15, atol=0)
    cosine, sine = similarity([[1e-13, 1e-13], [0.5, 0.0]])[0, 1], capacity_split(tiny)
    assert cosine.item() == pytest.approx(0.5**0.5, rel=1e-15)
    assert all(part.isfinite().all() for part in sine)


@pytest.mark.parametrize("gate", [1e-300, 1e-13, 0.1, 0.3, 0.7, 1.0])
def test_equal_gates_have_no_direction_and_do_not_disturb_the_others(gate):
    matrix = torch.rand(3, 7, generator=seeded(0), dtype=torch.float64)
    matrix[1] = gate
    found, expected = similarity(matrix, centred=True), similarity(matrix[::2], centred=True)
    assert torch.equal(found[::2, ::2], expected) and found[1].isnan().all()
    found, expected = (torch.stack(capacity_split(m, centred=True)) for m in (matrix, matrix[::2]))
    assert torch.equal(found[:, ::2], expected) and found[:, 1].isnan().all()


def test_a_task_whose_gates_are_all_shut_has_no_direction():
    matrix = torch.tensor([[0.3, 0.4], [0.0, 0.0], [0.4, 0.3]], dtype=torch.float64)
    found = similarity(matrix)
    assert found[1].isnan().all() and found[0, 2].item() == pytest.approx(0.96)
    shared, independent = capacity_split(matrix)
    assert shared.isnan().tolist() == independent.isnan().tolist() == [False, True, False]
    assert shared[0].item() == pytest.approx(0.96 * 0.35)


@pytest.mark.parametrize("factor", [3, 0.1, 1e-9])
def test_a_multiple_of_another_row_is_no_direction_of_its_own(factor):
    matrix = torch.rand(3, 6, generator=seeded(0), dtype=torch.float64)
    more = torch.cat([matrix, factor * matrix[:1]])
    assert capacity_split(more).independent[0] < 1e-12
    torch.testing.assert_close(
        capacity_split(more).shared[1:3], capacity_split(matrix).shared[1:], rtol=1e-12, atol=0
    )


def test_a_single_task_shares_nothing():
    shared, independent = capacity_split([[0.2, 0.6]])
    assert shared.item() == 0 and independent.item() == pytest.approx(0.4)


def test_centring_removes_what_the_common_mean_shares():
    generator = torch.Generator().manual_seed(0)
    matrix = 0.5 + 0.1 * torch.rand(2, 4000, generator=generator, dtype=torch.float64)
    assert (capacity_split(matrix).shared / capacity(matrix) > 0.99).all()
    assert (capacity_split(matrix, centred=True).shared / capacity(matrix) < 0.1).all()
    assert similarity(matrix)[0, 1] > 0.99 and similarity(matrix, centred=True)[0, 1].abs() < 0.1
    untrained = torch.full((2, 5), 0.5)
    assert capacity_split(untrained, centred=True).shared.isnan().all()
    assert similarity(untrained, centred=True).isnan().all()


@given(matrices)
def test_similarity_is_a_cosine_matrix(matrix):
    cosines = similarity(matrix)
    assert torch.equal(cosines, cosines.T)
    assert (cosines.diagonal() == 1).all() and cosines.abs().max() == 1
    rescaled = matrix * torch.arange(1, len(matrix) + 1)[:, None]
    torch.testing.assert_close(similarity(rescaled), cosines)


def test_similarity_by_hand():
    assert similarity([[1.0, 0.0], [1.0, 1.0]])[0, 1].item() == pytest.approx(0.5**0.5)
    assert similarity([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], centred=True)[0, 1] == pytest.approx(-1)


def test_specialised():
    matrix = [[0.9, 0.5, 0.1, 0.4], [0.1, 0.5, 0.8, 0.6]]
    assert specialised(matrix).tolist() == [0, -1, 1, 1]
    assert specialised(matrix, tau=0.85).tolist() == [0, -1, 1, -1]
    assert specialised([[0.4, 0.3], [0.3, 0.3], [0.3, 0.4]], tau=0.39).tolist() == [0, 2]
    assert specialised([[0.0], [0.0]]).tolist() == [-1], "shut for all"
    for tau in 0.0, 1.0:
        with pytest.raises(ValueError, match=f"tau={tau}"):
            specialised(matrix, tau)


@given(matrices)
def test_the_most_specialised_are_the_first_owned_when_tau_is_lowered(matrix):
    shares = matrix / matrix.sum(0)
    for count in 1, 4:
        chosen = most_specialised(matrix, count)
        assert (chosen.sum(1) == count).all()
        for row, share in zip(chosen, shares, strict=True):
            assert share[row].min() >= share[~row].max()


def test_most_specialised_by_hand():
    matrix = [[0.9, 0.0, 0.2, 0.1, 0.1], [0.1, 0.0, 0.2, 0.1, 0.0]]
    chosen = most_specialised(matrix, 3)
    assert chosen[0].tolist() == [True, False, True, False, True], "the first of equal shares"
    assert chosen[1].tolist() == [True, False, True, True, False], "never the one that is shut"
    assert most_specialised(matrix, 5).all()
    for count in 0, 6:
        with pytest.raises(ValueError, match=f"count={count} must be from 1 to the 5"):
            most_specialised(matrix, count)


@given(matrices, st.floats(0.5, 0.99))
def test_permuting_tasks_permutes_owners(matrix, tau):
    order = torch.randperm(len(matrix))
    owner = specialised(matrix, tau)
    permuted = specialised(matrix[order], tau)
    assert torch.equal(torch.where(permuted < 0, -1, order[permuted]), owner)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@given(matrices, st.integers(0, 2**31))
def test_shuffling_keeps_every_tasks_gates_in_every_layer(matrix, seed):
    tasks, width = tuple("abcde"[: len(matrix)]), matrix.shape[1]
    gates = Importance(matrix, tasks, {"first": 3, "second": width - 3})
    before = matrix.clone()
    found = permuted(gates, seeded(seed))
    assert found.tasks == tasks and found.layers == gates.layers
    assert torch.equal(gates.values, before)
    assert torch.equal(found.values, permuted(gates, seeded(seed)).values)
    for layer, part in gates.by_layer().items():
        torch.testing.assert_close(
            found.by_layer()[layer].sort(dim=1).values, part.sort(dim=1).values, rtol=0, atol=0
        )


def test_every_order_of_every_task_is_equally_likely():
    """Two tasks, three channels: 36 pairs of orders, by a chi-squared test at one in a million."""
    gates = Importance(torch.tensor([[1.0, 2, 3], [1, 2, 3]]).double(), ("a", "b"), {"": 3})
    generator = seeded(0)
    seen = {}
    for _ in range(3600):
        key = tuple(permuted(gates, generator).values.flatten().tolist())
        seen[key] = seen.get(key, 0) + 1
    assert len(seen) == 36
    assert sum((count - 100) ** 2 / 100 for count in seen.values()) < 93


def test_shuffling_takes_away_what_tasks_have_in_common():
    values = torch.rand(1, 4000, generator=seeded(0)).double().repeat(2, 1)
    gates = Importance(values, ("a", "b"), {"": 4000})
    found = permuted(gates, seeded(1))
    assert similarity(gates, centred=True)[0, 1] > 0.999
    assert similarity(found, centred=True)[0, 1].abs() < 0.08  # 5 standard errors
    torch.testing.assert_close(capacity(found), capacity(gates))


def test_the_chance_of_a_specialised_filter():
    """Shuffled gates give what independent gates give, by enumeration and by counting."""
    generator = seeded(0)
    values = torch.rand(3, 12, generator=generator).double() ** 3
    triples = torch.cartesian_prod(*values)  # every three gates are equally likely to meet
    chance = (specialised(triples.T) >= 0).double().mean()
    gates = Importance(values, ("a", "b", "c"), {"": 12})
    met = [(specialised(permuted(gates, generator)) >= 0).double().mean() for _ in range(400)]
    assert abs(torch.stack(met).mean() - chance) < 0.03

    binary = (torch.rand(3, 100_000, generator=generator) < 0.3).double()
    share = (specialised(binary) >= 0).double().mean().item()
    assert share == pytest.approx(3 * 0.3 * 0.7**2, abs=0.01), "exactly one of three is open"


def converted(host, affine):
    nn.init.normal_(host.weight)
    nn.init.normal_(host.bias)
    net = tssbn.task_specific(host, ("seg", "depth"), affine=affine)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net.eval()


@pytest.mark.parametrize("affine", ["paper", "preserve"])
@pytest.mark.parametrize("host", [nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm])
def test_a_removed_filter_puts_out_zero_for_every_task(host, affine):
    arguments = {nn.BatchNorm2d: (6,), nn.LayerNorm: ((6, 5, 1),), nn.GroupNorm: (2, 6)}
    net = converted(host(*arguments[host]), affine)
    x = torch.randn(4, 6, 5, 1)
    chosen = torch.rand(importance(net).values.shape[1]) < 0.5
    at = chosen.reshape(6, -1, 1).expand(6, 5, 1)  # filters of a LayerNorm are single features

    def run():
        with tssbn.select(net, "seg"):
            one = net(x)
        with tssbn.select(net, "depth"):
            return torch.cat([one, net(x)])

    before = run()
    with ablated(net, chosen):
        without = run()
    after = run()
    assert (without[:, at] == 0).all() and before.ne(0).all()
    assert torch.equal(without[:, ~at], before[:, ~at]) and torch.equal(after, before)


def test_removal_is_undone_bit_for_bit():
    net = network()
    net[0].gamma.data[0, 0] = -torch.inf
    state = {name: value.clone() for name, value in net.state_dict().items()}
    inside = torch.tensor([True, False, True, False, True])

    def same():
        return all(torch.equal(net.state_dict()[name], value) for name, value in state.items())

    with pytest.raises(KeyError), ablated(net, inside):
        assert (importance(net).values[:, inside] == 0).all()
        with ablated(net, ~inside):
            assert (importance(net).values == 0).all()
        assert (importance(net).values[:, ~inside] > 0).all()
        raise KeyError
    assert same()
    with ablated(net, torch.zeros(5, dtype=torch.bool)):
        assert same()


def test_removal_from_a_single_task_network():
    net = tssbn.sigmoid(nn.Sequential(nn.BatchNorm1d(3), nn.LayerNorm(3))).eval()
    with ablated(net, np.array([False] * 4 + [True, False])):
        assert (net(torch.randn(5, 3)) == 0).tolist() == [[False, True, False]] * 5


def test_removal_refuses():
    net = network()
    for filters in torch.ones(5), torch.ones(4, dtype=torch.bool), torch.ones(5, 1).bool():
        with pytest.raises(ValueError, match=r"filters must be boolean of shape \(5,\)"):
            ablated(net, filters).__enter__()
    plain = tssbn.task_specific(nn.BatchNorm1d(2), ("a",), norm="plain")
    for without in nn.Linear(2, 2), plain:
        with pytest.raises(ValueError, match="has no σ layers"):
            ablated(without, [True, False]).__enter__()


def test_removal_tells_owners_from_shuffled_gates():
    """Heads that sum the channels: what a task loses with a filter is its own gate.

    Each of three tasks holds a third of 60 filters wide open. Without the ten most its own it loses
    far more than the others; by shuffled gates, on average, as much as they do.
    """
    generator = seeded(0)
    net = tssbn.task_specific(nn.BatchNorm1d(60, eps=0), ("a", "b", "c")).eval()
    wide = torch.eye(3).repeat(1, 20)
    gates = 0.1 + 0.7 * wide + 0.1 * torch.rand(3, 60, generator=generator)
    net.gamma.data = gates.logit()
    x = torch.ones(1, 60)
    whole = tssbn.MultiTask(net, {task: nn.Identity() for task in "abc"})

    def sums():
        return torch.stack([y.sum() for y in whole(x).values()])

    def self_and_cross(matrix):
        with torch.no_grad():
            before, rows = sums(), []
            for filters in most_specialised(matrix, 10):
                with ablated(net, filters):
                    rows.append(before - sums())
        drops = torch.stack(rows)
        return drops.diagonal().mean(), drops[~torch.eye(3, dtype=torch.bool)].mean()

    own, others = self_and_cross(importance(net))
    assert own > 5 * others
    by_chance = [self_and_cross(permuted(importance(net), generator)) for _ in range(150)]
    own, others = torch.tensor(by_chance).mean(0)
    assert 0.9 < own / others < 1.1


def test_nobody_owns_a_filter_of_an_untrained_network():
    gates = importance(tssbn.task_specific(nn.BatchNorm1d(4), ("a", "b", "c")))
    assert (specialised(gates) == -1).all()
    assert (specialised(permuted(gates, seeded(0))) == -1).all()


def test_arrays_and_importances_are_taken_and_nonsense_is_not():
    found = importance(network())
    array = found.values.numpy().astype(np.float32)
    torch.testing.assert_close(capacity(array), capacity(found), rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r"shape \(3,\), not \(T, F\)"):
        capacity([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="not finite"):
        similarity([[0.1, float("nan")]])
    for wrong in [[0.5, -0.25]], [[1e308], [1e308]]:
        for share in specialised, lambda m: most_specialised(m, 1):
            with pytest.raises(ValueError, match=r"0 or more, .* values from (-0.25|1e\+308) to"):
                share(wrong)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_input_is_widened_before_anything_is_summed(dtype):
    matrix = torch.rand(3, 5000, generator=seeded(0)).to(dtype)
    for measure in capacity, similarity, specialised, lambda m: torch.stack(capacity_split(m)):
        assert torch.equal(measure(matrix), measure(matrix.double()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_importance_of_a_network_in_half_precision(dtype):
    net = network().to(dtype)
    expected = torch.cat([net[0].gamma, net[1][1].gamma], dim=1).double().sigmoid()
    assert torch.equal(importance(net).values, expected)


def test_an_importance_has_a_row_for_each_task_of_all_channels():
    for tasks, layers in (("a",), {"x": 2}), (("a", "b"), {"x": 1}), (("a", "b"), {}):
        with pytest.raises(ValueError, match=r"values have shape \(2, 2\), expected"):
            Importance(torch.rand(2, 2), tasks, layers)
