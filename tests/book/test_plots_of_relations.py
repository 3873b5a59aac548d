"""The figures of the chapter on which tasks are alike show what they are given."""

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

plt = pytest.importorskip("matplotlib.pyplot")
plots = pytest.importorskip("tssbn.plots")
relation_plots = pytest.importorskip("tssbn.plots.relations")

TASKS = ["a", "b", "c", "d"]
ALIKE = np.array([[1, 0.8, 0.1, 0.2], [0.8, 1, 0.3, 0.1], [0.1, 0.3, 1, 0.6], [0.2, 0.1, 0.6, 1]])


def test_a_matrix_of_cosines_has_its_extremes_of_pairs_above_it():
    figure = relation_plots.cosines({"one": ALIKE, "two": ALIKE**2})
    titles = [ax.get_title() for ax in figure.axes[:2]]
    assert titles == ["one: 0.10 to 0.80", "two: 0.01 to 0.64"]
    assert np.array_equal(figure.axes[1].images[0].get_array(), ALIKE**2)


def test_each_pair_of_runs_is_a_dot_and_each_mean_a_bar():
    beds = {"real": {"plain": ([0.7, 0.9], [0.5, 0.7]), "depth": ([0.2], [0.3])}}
    (ax,) = relation_plots.agreements(beds, printed=0.8).axes
    lines = [line.get_ydata() for line in ax.lines]
    dots, means = lines[0:8:2], lines[1:8:2]
    assert [list(values) for values in dots] == [[0.7, 0.9], [0.5, 0.7], [0.2], [0.3]]
    assert np.allclose([bar[0] for bar in means], [0.8, 0.6, 0.2, 0.3])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["plain", "depth"]


def test_names_of_a_tree_have_the_colours_of_their_groups():
    _, ax = plt.subplots()
    relation_plots.families(ax, ALIKE, TASKS, {"red": ["a", "d"], "blue": ["b"]})
    color = {label.get_text(): label.get_color() for label in ax.get_yticklabels()}
    red, blue = plots.COLORS["red"], plots.COLORS["blue"]
    assert color == {"a": red, "b": blue, "c": "black", "d": red}


def test_a_dot_for_each_pair_of_tasks():
    _, ax = plt.subplots()
    relation_plots.pairs(ax, ALIKE, -ALIKE, TASKS, [("c", "d")])
    every, named = ax.lines
    assert sorted(every.get_xdata()) == sorted([0.8, 0.1, 0.2, 0.3, 0.1, 0.6])
    assert np.array_equal(every.get_ydata(), -every.get_xdata())
    assert named.get_xydata().tolist() == [[0.6, -0.6]]
