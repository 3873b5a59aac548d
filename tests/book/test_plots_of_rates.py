"""The figures of the chapter on σBN show what they are given."""

import pytest
import torch

plt = pytest.importorskip("matplotlib.pyplot")
rates = pytest.importorskip("tssbn.plots.rates")


def test_losses_have_a_line_and_a_dot_for_each_run():
    left, right = rates.losses(
        {1: [[2, 1], [2, 0]], 100: [[2, 3]]}, {1: [8, 9], 100: [20]}, 2.3
    ).axes
    assert [line.get_ydata().tolist() for line in left.lines[:3]] == [[2, 1], [2, 0], [2, 3]]
    assert list(left.lines[3].get_ydata()) == [2.3, 2.3]
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["×1", "×100", "constant baseline"]
    assert [list(dots.get_ydata()) for dots in right.lines] == [[8, 9], [20]]


def test_a_sweep_has_a_panel_for_each_optimiser_and_a_mean_with_a_band_for_each_layer():
    arms = [(kind, optimiser) for kind in ("BN", "σBN") for optimiser in ("SGD", "Adam")]
    errors = {(*arm, m): [n + m, n + m + 2] for n, arm in enumerate(arms) for m in (1, 10)}
    sgd, adam = rates.sweep(errors, constant=90).axes
    assert [ax.get_title() for ax in (sgd, adam)] == ["SGD", "Adam"]
    assert [line.get_ydata().tolist() for line in sgd.lines[:2]] == [[2, 11], [4, 13]]
    assert [line.get_ydata().tolist() for line in adam.lines[:2]] == [[3, 12], [5, 14]]
    assert len(sgd.collections) == 2
    assert [text.get_text() for text in sgd.get_xticklabels()] == ["×1", "×10"]


def test_gates_of_inner_layers_are_above_those_of_the_last():
    shut, open_ = torch.full((4,), 0.01), torch.full((2,), 0.99)
    above, below = rates.gates({10: (shut, open_)}).axes
    heights = [[bar.get_height() for bar in ax.patches] for ax in (above, below)]
    assert heights[0][0] == heights[1][-1] == 1
    assert above.get_title() == "×10"
