"""The shared marks show what they are given."""

import pytest
import torch

plt = pytest.importorskip("matplotlib.pyplot")
plots = pytest.importorskip("tssbn.plots")


@pytest.fixture(autouse=True)
def clean():
    with plt.rc_context():
        yield
    plt.close("all")


def test_style_is_white_and_fits_the_page():
    plots.style()
    assert plt.rcParams["figure.facecolor"] == "white"
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == list(plots.COLORS.values())


def test_spread_shows_mean_lowest_and_highest():
    _, ax = plt.subplots()
    plots.spread(ax, [0, 1], [[1, 2], [3, 8], [5, 2]], "blue", "a", marker="o")
    (line,), (band,) = ax.lines, ax.collections
    assert line.get_ydata().tolist() == [3, 4]
    assert line.get_color() == plots.COLORS["blue"] and line.get_marker() == "o"
    at = {x: sorted(y for a, y in band.get_paths()[0].vertices if a == x) for x in (0, 1)}
    assert (at[0][0], at[0][-1], at[1][0], at[1][-1]) == (1, 5, 2, 8)


def test_gates_are_shares_of_the_channels():
    _, ax = plt.subplots()
    plots.gates(ax, torch.tensor([0.0, 0.01, 0.5, 1.0], requires_grad=True), "red")
    heights = [bar.get_height() for bar in ax.patches]
    assert len(heights) == 40
    assert (heights[0], heights[20], heights[39], sum(heights)) == (0.5, 0.25, 0.25, 1)


def test_images_keep_their_range_and_titles():
    plots.images(torch.full((3, 1, 8, 8), 0.25), ["x", "y", "z"], columns=2)
    axes = plt.gcf().axes
    assert [ax.get_title() for ax in axes] == ["x", "y", "z", ""]
    assert [len(ax.images) for ax in axes] == [1, 1, 1, 0]
    assert axes[0].images[0].get_clim() == (0, 1)  # grey, not stretched to white
