"""The figures of the chapter on cost show what they are given."""

import pytest

plt = pytest.importorskip("matplotlib.pyplot")
cost_plots = pytest.importorskip("tssbn.plots.cost")


def cell(plain, stem):
    seconds = {"matmul": [1.0] * len(plain), "plain": plain, "stem": stem}
    return {"macs": {"plain": 1}, "matmul": 4, "seconds": seconds}


def test_both_readings_give_a_number_to_the_same_task():
    rows, columns = cost_plots.in_memory(images=2, tasks=3, channels=2).axes
    colors = [[patch.get_facecolor() for patch in ax.patches] for ax in (rows, columns)]
    assert colors[0] == colors[1] and len(set(colors[0])) == 3
    places = [[text.get_text() for text in ax.texts] for ax in (rows, columns)]
    assert places[0] == places[1] == [str(place) for place in range(12)]
    assert columns.patches[-1].get_xy() == (5, 1)  # the last channel of the last task, image 1


def test_ratios_are_of_as_many_plain_steps_as_there_are_tasks():
    cells = {"1": cell([1.0], [1.1]), "10": cell([1.0, 2.0], [4.0, 10.0])}
    times, shares = cost_plots.stacked({"resnet18": cells}).axes
    assert times.lines[0].get_xdata().tolist() == [1, 10]
    assert times.lines[0].get_ydata() == pytest.approx([1.1, 0.45])
    assert shares.lines[0].get_xydata()[0] == pytest.approx([0.1875, 0.45])  # 1/4 and 1/8 a round


def test_every_way_is_a_dot_inside_the_figure():
    (ax,) = cost_plots.prices({"separate": (10.0, 1.0), "stacked": (4.0, 10.0)}).axes
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[10.0, 1.0]], [[4.0, 10.0]]]
    assert ax.get_xlim()[1] > 10 and ax.get_ylim()[1] > 10
