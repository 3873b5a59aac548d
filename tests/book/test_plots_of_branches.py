"""The figures of the chapter on branches show what they are given."""

import pytest

plt = pytest.importorskip("matplotlib.pyplot")
branch_plots = pytest.importorskip("tssbn.plots.branches")

TASKS = ("a", "b", "c")


def dots(ax):
    return [tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() == "o"]


def test_a_tree_has_a_dot_for_each_group_and_names_groups_side_by_side():
    _, ax = plt.subplots()
    branch_plots.tree(ax, {"2": (("a", "c"), ("b",)), "3": (("a",), ("c",), ("b",))}, "123", TASKS)
    assert dots(ax) == [(1, 1), (2, 0.5), (2, 2), (3, 0), (3, 1), (3, 2)]
    assert [text.get_text() for text in ax.texts] == ["a", "c", "b"]


def test_a_tree_without_branches_is_one_line():
    _, ax = plt.subplots()
    branch_plots.tree(ax, {}, "12", TASKS)
    assert dots(ax) == [(1, 1), (2, 1)]


def test_the_constant_baseline_is_in_the_figure():
    _, ax = plt.subplots()
    branch_plots.shared(ax, [[70, 60, 50]], constant=30)
    assert [list(line.get_ydata()) for line in ax.lines] == [[70, 60, 50], [30, 30]]


def test_runs_below_the_goal_are_below_the_grey():
    _, ax = plt.subplots()
    branch_plots.prices(ax, {"tree": [(0.5, -3.0)], "trunk": [(0.2, -0.5)]}, goal=-1)
    assert [line.get_ydata()[0] for line in ax.lines[:2]] == [-3.0, -0.5]
    assert (ax.patches[0].get_y(), ax.patches[0].get_height()) == (-1, 1)
