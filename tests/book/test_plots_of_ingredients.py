"""The figures of ingredients show what they are given."""

import pytest

pytest.importorskip("scipy")

from tssbn.claims import Effect

plt = pytest.importorskip("matplotlib.pyplot")
plots = pytest.importorskip("tssbn.plots")
ingredients = pytest.importorskip("tssbn.plots.ingredients")


def effect(value):
    return Effect(value, error=0.5, df=6, critical=2, n=(3, 5))


def test_a_bed_with_gates_from_a_stage_on_has_a_panel_that_ends_with_hps():
    beds = {"rooms": {2: effect(-1.0), 3: effect(-2.0)}, "none": {3: effect(0)}}
    figure = ingredients.stages(beds)
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0\nTSσBN", "1", "2", "3\nHPS"]
    assert ax.get_title(loc="left") + ax.get_title() == ("rooms\nn ≥ 3: 1 of 2 beyond zero")
    segments = [bars.get_segments()[0].tolist() for bars in ax.collections]
    assert segments == [[[2, -2], [2, 0]], [[3, -3], [3, -1]]]
    colors = [line.get_color() for line in ax.lines[1:3]]
    assert colors == [plots.method_color("tssbn"), plots.method_color("hps")]
    visible = effect(0).visible
    assert (ax.patches[0].get_y(), ax.patches[0].get_height()) == (-visible, 2 * visible)


def test_without_such_gates_there_is_no_figure():
    assert ingredients.stages({"rooms": {}, "census": {3: effect(0)}}) is None


def test_runs_of_other_gates_have_other_marks():
    _, ax = plt.subplots()
    ingredients.gains(ax, {"HPS": {"": [-8.0, -7.0]}, "TSσLN": {"": [-7.0], "swapped": [-59.0]}})
    marks = [line.get_marker() for line in ax.lines[:3]]
    assert marks == ["o", "o", "+"]
    assert ax.lines[0].get_xdata().tolist() == [-8.0, -7.0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["HPS", "TSσLN"]
