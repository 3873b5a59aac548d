"""Importance, similarity and capacity of any network are drawn by one call each."""

import pytest
import torch
from torch import nn

import tssbn
from tssbn import gates
from tssbn.gates import Importance

plt = pytest.importorskip("matplotlib.pyplot")
pytest.importorskip("seaborn")
plots = pytest.importorskip("tssbn.plots")

TASKS = ("seg", "depth", "normal")
DRAW = {name: getattr(plots, name) for name in ("importance", "similarity", "capacity")}


@pytest.fixture(autouse=True)
def clean():
    yield
    plt.close("all")


def network():
    trunk = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3), nn.GroupNorm(1, 5)
    )
    trunk = tssbn.task_specific(trunk, TASKS)
    for layer in (trunk[1], trunk[3]):
        nn.init.normal_(layer.gamma)
    return tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS})


def cells(ax):
    """The values of a heat map, row by row."""
    return torch.from_numpy(ax.collections[0].get_array().data.copy()).reshape(
        len(ax.get_yticklabels()), -1
    )


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def test_importance_is_the_matrix_with_its_layers_named():
    net = network()
    ax = plots.importance(net)
    assert torch.equal(cells(ax), gates.importance(net).values)
    assert labels(ax.get_yticklabels()) == list(TASKS)
    assert labels(ax.get_xticklabels()) == ["trunk.1", "trunk.3"]
    assert list(ax.get_xticks()) == [0, 4]
    assert ax.collections[0].get_clim() == (0, 1)


def test_many_layers_are_named_as_far_as_there_is_room():
    layers = {f"layer {i}": 2 for i in range(100)}
    ax = plots.importance(Importance(torch.full((2, 200), 0.5), ("a", "b"), layers))
    named = labels(ax.get_xticklabels())
    assert named == [f"layer {i}" for i in range(0, 100, 3)]
    assert list(ax.get_xticks()) == list(range(0, 200, 6))


@pytest.mark.parametrize("centred", [False, True])
def test_similarity_shows_every_pair_and_its_number(centred):
    net = network()
    ax = plots.similarity(net, centred)
    expected = gates.similarity(gates.importance(net), centred)
    assert torch.equal(cells(ax), expected)
    assert labels(ax.get_xticklabels()) == labels(ax.get_yticklabels()) == list(TASKS)
    assert labels(ax.texts) == [f"{value:.2f}" for value in expected.flatten()]
    assert ax.collections[0].get_clim() == (-1 if centred else 0, 1)


def test_similarity_of_forty_tasks_has_no_numbers():
    tasks = tuple(f"task{i}" for i in range(40))
    ax = plots.similarity(Importance(torch.rand(40, 60), tasks, {"1": 60}))
    assert not ax.texts and labels(ax.get_yticklabels()) == list(tasks)


def test_capacity_has_a_bar_for_each_task_and_part():
    net = network()
    matrix = gates.importance(net)
    ax = plots.capacity(net)
    whole, shared, independent = (
        torch.tensor([bar.get_width() for bar in part], dtype=torch.float64)
        for part in ax.containers
    )
    torch.testing.assert_close(whole, gates.capacity(matrix))
    torch.testing.assert_close(whole**2, shared**2 + independent**2)
    assert labels(ax.get_yticklabels()) == list(TASKS)
    assert labels(ax.get_legend().get_texts()) == ["capacity", "shared", "independent"]


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_that_is_there_is_drawn_into(name):
    _, (left, right) = plt.subplots(1, 2)
    assert DRAW[name](gates.importance(network()), ax=right) is right
    assert right.has_data() and not left.has_data()


@pytest.mark.parametrize("name", DRAW)
def test_a_network_without_gates_is_refused_before_anything_is_drawn(name):
    with pytest.raises(ValueError, match="Linear has no σ layers"):
        DRAW[name](nn.Linear(2, 2))
    assert not plt.get_fignums()


def test_a_sigmoid_network_of_one_task_has_a_single_row():
    ax = plots.importance(tssbn.sigmoid(nn.BatchNorm2d(3)))
    assert cells(ax).shape == (1, 3)
