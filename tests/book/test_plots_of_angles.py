"""The figure of angles shows each kind of cosine in a panel for each pair of tasks."""

import pytest
import torch

plt = pytest.importorskip("matplotlib.pyplot")
angle_plots = pytest.importorskip("tssbn.plots.angles")


@pytest.fixture(autouse=True)
def clean():
    yield
    plt.close("all")


def test_each_panel_has_all_kinds_of_all_runs():
    runs = [{"two tasks": torch.tensor([0.01]), "one task": torch.tensor([0.96])}] * 2
    figure = angle_plots.cosines({"a and b": runs, "a and c": runs})
    assert [ax.get_title() for ax in figure.axes] == ["a and b", "a and c"]
    for ax in figure.axes:
        filled = max(ax.patches[:40], key=lambda bar: bar.get_height())
        assert filled.get_x() == pytest.approx(0)
        assert filled.get_height() == pytest.approx(1 / 0.05)  # a density: all lie in one bin
        assert ax.patches[40].get_xy()[:, 0].min() == pytest.approx(-1)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["two tasks", "one task"]
