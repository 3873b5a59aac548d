"""Similarity matrices of several runs: how far they agree, and on which clusters."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("sklearn")
pytest.importorskip("scipy")
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score

import tssbn
from tssbn.clusters import (
    cluster_tasks,
    coassociation,
    consensus,
    depth_and_channel_parts,
    linkage,
    partial_rank_correlations,
    rank_correlations,
)
from tssbn.data.synthetic.faces import REGIONS
from tssbn.gates import Importance, importance, permuted, similarity
from tssbn.records import load_all, unpack_gates

ROOT = Path(__file__).resolve().parents[2]


def noise(tasks, seed):
    """A similarity matrix without meaning."""
    return similarity(np.random.default_rng(seed).normal(size=(tasks, 40)))


def blocks(labels, inside=0.8, outside=0.1):
    """A similarity matrix whose clusters are known."""
    same = torch.as_tensor(labels)[:, None] == torch.as_tensor(labels)
    return torch.where(same, inside, outside).double().fill_diagonal_(1)


def runs():
    """Gates of the recorded runs on faces, by seed, at the end of training."""
    records = [
        record
        for record in load_all("faces", ROOT / "data/results")
        if record["method"] == "tssbn" and record["settings"] == {"multiplier": 10}
    ]
    return [list(unpack_gates(record["gates"]).values())[-1] for record in records]


def regions(tasks):
    return [next(name for name, of in REGIONS.items() if task in of) for task in tasks]


# parts


def test_the_parts_add_up_and_are_at_right_angles():
    values = torch.rand(3, 9).double()
    gates = Importance(values, ("a", "b", "c"), {"1": 4, "2": 5})
    depth, channels = depth_and_channel_parts(gates)
    centred = values - values.mean(dim=1, keepdim=True)
    torch.testing.assert_close(depth + channels, centred)
    torch.testing.assert_close(depth @ channels.T, torch.zeros(3, 3).double())
    torch.testing.assert_close(depth @ depth.T + channels @ channels.T, centred @ centred.T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_parts_of_narrow_gates_are_those_of_their_values(dtype):
    gates = Importance(torch.rand(3, 900).to(dtype), ("a", "b", "c"), {"1": 400, "2": 500})
    wide = Importance(gates.values.double(), gates.tasks, gates.layers)
    assert all(
        torch.equal(*both)
        for both in zip(depth_and_channel_parts(gates), depth_and_channel_parts(wide), strict=True)
    )


@pytest.mark.parametrize("gate", [0.1, 0.3, 0.7, 1e-13])
def test_parts_of_equal_gates_are_zero_and_not_rounding(gate):
    """Of layers alike on average, nothing is left in depth; of equal channels, nothing there."""
    alike = torch.tensor([[1.0, 3, 2, 2, 2], [2, 2, 2, 2, 2]]).double() * gate
    depth, channels = depth_and_channel_parts(Importance(alike, ("a", "b"), {"1": 2, "2": 3}))
    assert (depth == 0).all() and (channels[1] == 0).all()
    torch.testing.assert_close(channels[0], gate * torch.tensor([-1.0, 1, 0, 0, 0]).double())
    assert similarity(depth).isnan().all()


# agreement


def test_agreement_is_scipys_for_every_two_runs_in_order():
    matrices = [noise(6, seed) for seed in range(4)]
    matrices[1] = (matrices[1] * 4).round() / 4  # with ties
    matrices[2] = 1e-20 * matrices[2]  # of any size
    above = np.triu_indices(6, 1)
    expected = [
        spearmanr(a.numpy()[above], b.numpy()[above]).statistic
        for a, b in itertools.combinations(matrices, 2)
    ]
    torch.testing.assert_close(
        rank_correlations(matrices), torch.tensor(expected, dtype=torch.float64)
    )


def test_agreement_sees_order_alone():
    matrix = noise(7, 0)
    torch.testing.assert_close(rank_correlations([matrix, matrix.exp()]), torch.ones(1).double())
    torch.testing.assert_close(rank_correlations([matrix, -matrix]), -torch.ones(1).double())
    assert all(abs(rank_correlations([noise(t, 0), noise(t, 0)]).item()) <= 1 for t in range(3, 30))
    order = torch.randperm(7)
    both = noise(7, 1)
    torch.testing.assert_close(
        rank_correlations([matrix, both]),
        rank_correlations([m[order][:, order] for m in (matrix, both)]),
    )


def test_there_is_no_agreement_with_a_matrix_that_ranks_nothing():
    assert rank_correlations([noise(5, 0), torch.ones(5, 5)]).isnan().all()
    assert rank_correlations([noise(5, 0), torch.eye(5) + 1e-15 * noise(5, 1)]).isnan().all()
    rounding = 1e-15 * noise(5, 1)
    assert rank_correlations([noise(5, 0), torch.ones(5, 5) + rounding]).isnan().all()


# causes, the others held fixed


def test_one_cause_alone_has_spearmans_correlation():
    one, other = noise(8, 0), noise(8, 1)
    found = partial_rank_correlations(one, {"other": other}, draws=10)
    assert found["other"].value == pytest.approx(rank_correlations([one, other]).item(), abs=1e-12)


def test_two_causes_have_the_partial_correlation_of_the_textbook():
    y, a, b = (noise(9, seed) for seed in range(3))
    ya, yb, ab = rank_correlations([y, a, b]).tolist()
    found = partial_rank_correlations(y, {"a": a, "b": b}, draws=10)
    expected = (ya - yb * ab) / ((1 - yb**2) * (1 - ab**2)) ** 0.5
    assert found["a"].value == pytest.approx(expected, abs=1e-12)


def test_a_cause_that_comes_with_another_explains_nothing_more():
    cause = noise(14, 0)
    whole = cause + 0.3 * noise(14, 1)
    causes = {"cause": cause, "with it": cause + 0.3 * noise(14, 2)}
    found = partial_rank_correlations(whole, causes, draws=500)
    alone = partial_rank_correlations(whole, {"with it": causes["with it"]}, draws=500)
    assert found["cause"].p < 0.01 and found["cause"].value > 0.5
    assert alone["with it"].p < 0.01 < 0.05 < found["with it"].p


def test_p_values_of_noise_are_spread_evenly_though_pairs_share_tasks():
    found = [
        partial_rank_correlations(noise(8, k), {"a": noise(8, 100 + k), "b": noise(8, 200 + k)}, 60)
        for k in range(80)
    ]
    low = np.mean([each["a"].p < 0.2 for each in found])
    assert 0.08 < low < 0.34  # 0.2 within three standard errors


def test_a_cause_of_which_the_others_leave_nothing_is_refused():
    one = noise(6, 0)
    with pytest.raises(ValueError, match="other than a leave nothing"):
        partial_rank_correlations(noise(6, 1), {"a": one, "twice a": 2 * one})
    with pytest.raises(ValueError, match="leave nothing"):
        partial_rank_correlations(one, {"a": one, "b": one + noise(6, 2), "c": np.ones((6, 6))})


# trees and clusters


def test_the_tree_is_average_linkage():
    """Of three tasks, the last joins at the mean of its two distances."""
    joined = linkage([[1, 0.9, 0.2], [0.9, 1, 0.4], [0.2, 0.4, 1]])
    np.testing.assert_allclose(joined[:, 2], [0.1, 0.7])


@pytest.mark.parametrize("k", [None, 3])
def test_known_clusters_are_found(k):
    truth = [0, 1, 0, 2, 2, 1, 2]
    assert cluster_tasks(blocks(truth), k).tolist() == truth


def test_clusters_are_numbered_by_their_first_task():
    assert cluster_tasks(blocks([5, 2, 5, 0])).tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize("k", range(1, 8))
def test_there_are_as_many_clusters_as_asked_for(k):
    assert cluster_tasks(noise(7, 3), k).unique().tolist() == list(range(k))


def test_clusters_do_not_depend_on_the_order_of_the_tasks():
    matrix, order = noise(8, 4), torch.randperm(8)
    moved = cluster_tasks(matrix[order][:, order])
    assert adjusted_rand_score(cluster_tasks(matrix)[order], moved) == 1


@pytest.mark.parametrize("k", [None, 2, 4])
def test_rounding_does_not_decide_between_equals(k):
    """Of three pairs that are equally alike, whatever the last digit of a similarity is."""
    matrix = blocks([0, 0, 1, 1, 2, 2])
    for seed in range(10):
        rounding = 1e-15 * noise(6, seed).fill_diagonal_(0)
        assert torch.equal(cluster_tasks(matrix + rounding, k), cluster_tasks(matrix, k))
        np.testing.assert_allclose(linkage(matrix + rounding), linkage(matrix), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_similarities_of_any_format_are_taken(dtype):
    matrix = blocks([0, 1, 0, 2, 2, 1]).to(dtype)
    assert cluster_tasks(matrix).tolist() == [0, 1, 0, 2, 2, 1]
    assert rank_correlations([matrix, matrix.double()]) == 1


def test_a_perfect_match_of_all_tasks_is_one_distance_of_zero():
    """Rounding must not make a negative distance of two equal rows."""
    rows = torch.rand(1, 50).double().expand(4, 50) * torch.tensor([[1.0], [3], [7], [11]])
    assert linkage(similarity(rows))[:, 2].max() < 1e-12


# several runs


def test_coassociation_counts_runs_and_not_numbers_of_clusters():
    counted = coassociation([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1], [3, 3, 3, 3]])
    expected = torch.tensor([[4, 3, 1, 1], [3, 4, 2, 2], [1, 2, 4, 4], [1, 2, 4, 4]]) / 4
    assert torch.equal(counted, expected.double())


def test_the_consensus_outvotes_a_run_that_differs():
    most, other = [0, 0, 1, 1, 2, 2], [0, 1, 2, 0, 1, 2]
    assert consensus([blocks(most), blocks(most), blocks(other)], 3).tolist() == most
    assert consensus([blocks(other)]).tolist() == other


# null tests: on gates that say nothing, the measures say nothing


def anywhere(gates, generator):
    """Every gate of a task may go to every channel, whatever the layer."""
    trunk = Importance(gates.values, gates.tasks, {"trunk": gates.values.shape[1]})
    return permuted(trunk, generator)


def test_recorded_runs_agree_and_gates_shuffled_over_the_trunk_do_not():
    gates, generator = runs(), torch.Generator().manual_seed(0)
    assert len(gates) > 1
    assert rank_correlations([similarity(g, centred=True) for g in gates]).mean() > 0.6
    null = [
        rank_correlations([similarity(anywhere(g, generator), centred=True) for g in gates]).mean()
        for _ in range(40)
    ]
    assert abs(np.mean(null)) < 0.1


def test_channels_agree_and_shuffled_within_their_layers_they_do_not():
    gates, generator = runs(), torch.Generator().manual_seed(0)
    assert (
        rank_correlations([similarity(depth_and_channel_parts(g).channels) for g in gates]).mean()
        > 0.3
    )
    null = [
        rank_correlations(
            [similarity(depth_and_channel_parts(permuted(g, generator)).channels) for g in gates]
        ).mean()
        for _ in range(40)
    ]
    assert abs(np.mean(null)) < 0.1


def test_shuffling_within_layers_does_not_touch_the_depth():
    gates = runs()[0]
    moved = permuted(gates, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        depth_and_channel_parts(moved).depth, depth_and_channel_parts(gates).depth
    )
    assert (
        depth_and_channel_parts(moved).channels - depth_and_channel_parts(gates).channels
    ).abs().max() > 0.1


def test_clusters_of_shuffled_gates_are_not_the_regions():
    gates, generator = runs(), torch.Generator().manual_seed(1)
    truth = regions(gates[0].tasks)

    def score(gates):
        return adjusted_rand_score(truth, consensus([similarity(g) for g in gates], 5))

    null = [score([anywhere(g, generator) for g in gates]) for _ in range(40)]
    assert abs(np.mean(null)) < 0.1
    assert score(gates) > max(0.4, np.quantile(null, 0.95))


# errors


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (torch.rand(3, 4), r"shape \(3, 4\)"),
        (torch.rand(3), r"shape \(3,\)"),
        (torch.eye(2), "of 3 tasks or more"),
        ([[1, 0.2, 0], [0.1, 1, 0], [0, 0, 1]], "not symmetric"),
        (torch.full((3, 3), torch.nan), "untrained"),
        (torch.zeros(3, 3), "1 on its diagonal"),
        (2 * torch.ones(3, 3) - torch.eye(3), "nothing above"),
    ],
)
def test_what_is_no_similarity_matrix_is_refused(matrix, match):
    with pytest.raises(ValueError, match=match):
        cluster_tasks(matrix)


@pytest.mark.parametrize("k", [0, 4, 1.5])
def test_a_number_of_clusters_that_cannot_be_is_refused(k):
    with pytest.raises(ValueError, match=f"k={k}"):
        cluster_tasks(torch.eye(3), k)


def pair_of(tasks):
    """The first two tasks are alike."""
    similarity = torch.eye(tasks)
    similarity[0, 1] = similarity[1, 0] = 0.5
    return similarity


def test_too_few_runs_or_different_tasks_are_refused():
    with pytest.raises(ValueError, match="got 1 matrices"):
        rank_correlations([torch.eye(3)])
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        rank_correlations([torch.eye(3), torch.eye(4)])
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        consensus([pair_of(3), pair_of(4)])
    with pytest.raises(ValueError, match="no similarities"):
        consensus([])
    with pytest.raises(ValueError, match="not \\(runs, tasks\\)"):
        coassociation([0, 1, 2])
    with pytest.raises(ValueError, match="labels are NaN"):
        coassociation([[0, 1, float("nan")]])


@pytest.mark.parametrize("size", [1, 1e-8])
def test_a_matrix_is_symmetric_for_its_size(size):
    matrix = size * noise(4, 0)
    with pytest.raises(ValueError, match="not symmetric"):
        rank_correlations([matrix, matrix + size * 1e-4 * torch.rand(4, 4).triu(1)])


def test_tasks_that_are_all_equally_alike_have_no_clusters():
    with pytest.raises(ValueError, match="equally alike"):
        cluster_tasks(torch.full((4, 4), 0.5) + 0.5 * torch.eye(4))


@pytest.mark.parametrize("gamma", [0.0, 0.3, -5.0, -30.0])
@pytest.mark.parametrize("k", [None, 2])
def test_an_untrained_network_has_no_clusters(gamma, k):
    """Its cosines are 1 up to rounding, and rounding has clusters."""
    layers = [nn.BatchNorm2d(7), nn.BatchNorm2d(64)]
    net = tssbn.task_specific(nn.Sequential(*layers), [f"task {i}" for i in range(12)])
    for layer in net:
        nn.init.constant_(layer.gamma, gamma)
    gates = importance(net)
    scales = torch.linspace(0.1, 0.9, 12).double()[:, None]  # one direction, of many lengths
    rounding = 1 + 1e-15 * torch.rand(12, 71)
    for matrix in gates, gates.values * scales, gates.values * rounding:
        with pytest.raises(ValueError, match="equally alike"):
            cluster_tasks(similarity(matrix), k)
        with pytest.raises(ValueError, match="equally alike"):
            consensus([similarity(matrix)], k)
