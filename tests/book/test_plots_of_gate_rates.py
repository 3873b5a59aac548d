"""The figures of gate rates show what they are given."""

from types import SimpleNamespace

import pytest
import torch

plt = pytest.importorskip("matplotlib.pyplot")
pytest.importorskip("scipy")
pytest.importorskip("lightning_fabric")
sweeps = pytest.importorskip("tssbn.claims.sweeps")
rates = pytest.importorskip("tssbn.plots.gate_rates")

OURS = SimpleNamespace(
    title="rooms",
    about="one run each",
    rates={"tsbn": [0.01, 0.1], "tssbn": [0.01, 0.1]},
    gains=lambda method: {r: sweeps.Effect(1.0, 0.5, 8, 2.0, (1, 1)) for r in (0.01, 0.1)},
    bounded=lambda: {r: sweeps.Effect(2.0, 0.5, 8, 2.0, (1, 1)) for r in (0.01, 0.1)},
)


def heights(line):
    return line.get_ydata().tolist()


def test_paths_of_gates_that_matter_are_blue():
    gates = torch.tensor([[0.5, 0.5], [0.6, 0.4]])
    figure = rates.paths({0.1: gates, 1.0: gates}, torch.tensor([True, False]))
    one, other = figure.axes[0].lines
    assert [heights(one), heights(other)] == [pytest.approx([0.5, 0.4]), pytest.approx([0.5, 0.6])]
    assert other.get_color() == rates.plots.COLORS["blue"]
    assert [ax.get_title() for ax in figure.axes] == ["gate rate 0.1", "gate rate 1"]


def test_a_panel_for_each_sweep_has_both_methods_and_their_intervals():
    figure = rates.sweeps([sweeps.in_paper(), OURS])
    paper, ours = figure.axes
    assert heights(paper.lines[1]) == pytest.approx([2.95, 4.60, 5.86, 3.26])  # TSσBN over HPS
    assert not paper.collections and len(ours.collections) == 2  # the paper prints no spread
    ends = ours.collections[0].get_segments()[0][:, 1]
    assert ends.tolist() == [0.0, 2.0]
    assert ours.get_title() == "rooms: one run each"


def test_the_papers_differences_are_diamonds_and_ours_have_intervals():
    _, ax = plt.subplots()
    rates.apart(ax, [OURS], sweeps.in_paper())
    paper = ax.lines[0]
    assert heights(paper) == pytest.approx([-0.07, 0.87, 2.51, 7.29])
    assert paper.get_marker() == "D"
    assert ax.collections[0].get_segments()[1][:, 1].tolist() == [1.0, 3.0]


def test_a_sweep_without_a_rate_of_both_methods_has_no_line():
    _, ax = plt.subplots()
    rates.apart(
        ax, [SimpleNamespace(title="faces", about="", bounded=dict), OURS], sweeps.in_paper()
    )
    assert len(ax.collections) == 1
    assert ax.get_title() == "At the fastest rate TSσBN is ahead on 2 of 2 data sets"


def test_histograms_name_the_rate_and_the_score():
    pd = pytest.importorskip("pandas")
    gates = SimpleNamespace(values=torch.tensor([[0.5, 0.9]]))

    class Runs(list):
        def gates(self):
            return [gates] * len(self)

        def scores(self):
            return pd.DataFrame([[0.5, 0.7]] * len(self))

    (ax,) = rates.histograms({0.04: Runs([1, 2])}).axes
    assert ax.get_title(loc="left") + ax.get_title() == "gate rate 0.04:\nscore 0.60, n = 2"
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(1)
