"""Importance, capacity, similarity and specialisation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tssbn
from tssbn.gates import capacity, capacity_split, importance, similarity, specialised


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
    assert independent[-1] < 1e-6


def test_equal_tasks_do_not_upset_the_projection():
    """A without full rank: the least-squares answer, not a division by zero."""
    matrix = torch.rand(1, 8, dtype=torch.float64).repeat(3, 1)
    shared, independent = capacity_split(matrix)
    torch.testing.assert_close(shared, capacity(matrix))
    assert (independent < 1e-6).all()


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
    torch.testing.assert_close(cosines, cosines.T)
    torch.testing.assert_close(cosines.diagonal(), torch.ones(len(matrix), dtype=torch.float64))
    rescaled = matrix * torch.arange(1, len(matrix) + 1)[:, None]
    torch.testing.assert_close(similarity(rescaled), cosines)


def test_similarity_by_hand():
    assert similarity([[1.0, 0.0], [1.0, 1.0]])[0, 1].item() == pytest.approx(0.5**0.5)
    assert similarity([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], centred=True)[0, 1] == pytest.approx(-1)


def test_specialised():
    matrix = [[0.9, 0.5, 0.1, 0.4], [0.1, 0.5, 0.8, 0.6]]
    assert specialised(matrix).tolist() == [0, -1, 1, 1]
    assert specialised(matrix, tau=0.85).tolist() == [0, -1, 1, -1]
    for tau in 0.4, 1.0:
        with pytest.raises(ValueError, match=f"tau={tau}"):
            specialised(matrix, tau)


@given(matrices, st.floats(0.5, 0.99))
def test_permuting_tasks_permutes_owners(matrix, tau):
    order = torch.randperm(len(matrix))
    owner = specialised(matrix, tau)
    permuted = specialised(matrix[order], tau)
    assert torch.equal(torch.where(permuted < 0, -1, order[permuted]), owner)


def test_arrays_and_importances_are_taken_and_nonsense_is_not():
    found = importance(network())
    array = found.values.numpy().astype(np.float32)
    torch.testing.assert_close(capacity(array), capacity(found), rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r"shape \(3,\), not \(T, F\)"):
        capacity([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="not finite"):
        similarity([[0.1, float("nan")]])
