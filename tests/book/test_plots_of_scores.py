"""Scores beside their baselines, and colours of classes."""

import numpy as np
import pytest

from tssbn.data.real.cityscapes_small import CATEGORIES
from tssbn.data.synthetic.scenes.classes import CATEGORY, CLASSES
from tssbn.data.target import Target

plt = pytest.importorskip("matplotlib.pyplot")
plots = pytest.importorskip("tssbn.plots")
pytest.importorskip("pandas")
score_plots = pytest.importorskip("tssbn.plots.scores")


def test_each_run_has_a_dot_in_the_row_of_its_task():
    _, ax = plt.subplots()
    score_plots.skills(ax, {"a": {"x": [0.1], "y": [0.2, 0.3]}, "b": {"x": [0.4], "y": []}})
    dots = [line.get_xydata().tolist() for line in ax.lines[:4]]
    assert dots == [[[0.1, 0]], [[0.2, 0], [0.3, 0]], [[0.4, 1]], []]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


def test_attributes_have_one_row_their_mean():
    faces = {"constant": [{str(k): float(k) for k in range(9)}], "tiny": [{"0": 1.0}, {"0": 3.0}]}
    rooms = {"constant": [{"depth": 0.7, "segmentation": 3.4}]}
    table = score_plots.learned({"faces": {"scores": faces}, "rooms": {"scores": rooms}})
    assert list(table.index) == ["faces: mean F1", "rooms: depth", "rooms: segmentation"]
    assert table["constant"].tolist() == ["4", "0.70", "3"]
    assert table["7×7 filters"].tolist() == ["2", "", ""]


def test_trades_have_the_mean_and_each_gain_with_its_interval():
    gains = {"hps": {"a": -3.0, "b": 5.0}, "tssbn": {"a": 1.0, "b": 1.0}}
    left, right = score_plots.trades(gains, {"a": 0.5, "b": 1.0}, error=0.25).axes
    assert [line.get_xydata()[0].tolist() for line in left.lines[1:]] == [[1, 0], [1, 1]]
    assert (left.patches[0].get_x(), left.patches[0].get_width()) == pytest.approx((-0.49, 0.98))
    ends = [bar.get_segments()[0][:, 0].tolist() for bar in right.collections]
    assert np.allclose(ends, [[-3.98, -2.02], [3.04, 6.96], [0.02, 1.98], [-0.96, 2.96]])


def test_classes_of_cityscapes_have_the_colours_of_cityscapes():
    colors = plots.class_colors(Target("classes", CLASSES, ignore=-1))
    assert len({tuple(color) for color in colors}) == 20
    assert np.allclose(255 * colors[CLASSES.index("road")], (128, 64, 128))
    assert (colors[-1] == 1).all()
    # A category has the colour of one of its classes.
    for category, color in enumerate(plots.class_colors(Target("classes", CATEGORIES))[:-1]):
        members = [colors[i] for i, of in enumerate(CATEGORY) if of == category]
        assert any((color == member).all() for member in members)
