"""The figures of the chapter on specialised filters show what they are given."""

import numpy as np
import pytest
import torch

from tssbn.gates import Importance, specialised

plt = pytest.importorskip("matplotlib.pyplot")
filter_plots = pytest.importorskip("tssbn.plots.filters")


def test_the_histogram_has_all_filters_and_the_title_those_with_an_owner():
    values = torch.rand(3, 200, generator=torch.Generator().manual_seed(0)).double()
    net = Importance(values, ("a", "b", "c"), {"1": 200})
    (ax,) = filter_plots.largest_shares({"toys": [net, net]}).axes
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(100)
    owned = 100 * (specialised(net) >= 0).double().mean().item()
    assert ax.get_title() == f"toys: {owned:.0f} % with an owner"


def test_the_largest_of_each_column_has_a_frame_and_of_each_row_a_dot():
    _, ax = plt.subplots()
    filter_plots.losses(ax, [[9, 50, 1], [2, 8, 0], [3, 0, 7]], ["a", "b", "c"], 100)
    frames = [np.add(frame.get_xy(), 0.46).round().tolist() for frame in ax.patches]
    assert frames == [[0, 0], [1, 0], [2, 2]]
    dots = [line.get_xydata().round()[0].tolist() for line in ax.lines]
    assert dots == [[1, 0], [1, 1], [2, 2]]


def test_the_constant_answer_is_a_last_row_without_marks():
    _, ax = plt.subplots()
    filter_plots.losses(ax, np.eye(6), list("abcdef"), 1, constant=np.full(6, 9))
    assert ax.images[0].get_array().shape == (7, 6) and not ax.texts
    assert ax.get_yticklabels()[-1].get_text() == "ignores image"
    assert len(ax.patches) == len(ax.lines) == 6
