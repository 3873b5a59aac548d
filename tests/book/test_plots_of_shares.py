"""The figures and tables of the chapter on capacity show what they are given."""

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")
pytest.importorskip("seaborn")

from tssbn import gates, records
from tssbn.gates import Importance

plt = pytest.importorskip("matplotlib.pyplot")
shares = pytest.importorskip("tssbn.plots.shares")

TASKS = ("seg", "depth", "normal")


def network(seed, tasks=TASKS):
    values = torch.rand(len(tasks), 30, generator=torch.Generator().manual_seed(seed)).double()
    return Importance(values, tasks, {"1": 10, "4": 20})


def shared(rows):
    return gates.capacity_split(rows).shared / gates.capacity(rows)


def test_bars_are_capacities_and_their_shared_parts_the_largest_on_top():
    _, ax = plt.subplots()
    tasks = [f"task {t}" for t in range(13)]
    capacity = np.linspace(0.1, 0.7, 13)
    shares.bars(ax, [capacity, capacity + 0.2], np.full((2, 13), 0.5), np.ones((2, 13)), tasks)
    widths = [bar.get_width() for bar in ax.patches]
    assert widths[:13] == pytest.approx(capacity[::-1] + 0.1)
    assert widths[13:] == pytest.approx((capacity[::-1] + 0.1) / 2)
    marks = [segment[0, 0] for segment in ax.collections[0].get_segments()]
    assert marks == pytest.approx(widths[:13])
    assert ax.get_yticklabels() == []


def test_the_claim_counts_the_runs():
    nets = [network(0), network(1)]
    percent = np.mean([100 * shared(net.values).mean().item() for net in nets])
    said = shares.claim(nets)
    assert said.startswith("On rooms (2 runs)") and f"explain {percent:.0f} %" in said
    assert "no runs" in shares.claim([])


def test_a_panel_and_a_row_for_each_benchmark():
    nets = {"one": [network(0), network(1), network(2)], "two": [network(3)]}
    figure = shares.figure_3(nets, shared)
    assert [ax.get_title() for ax in figure.axes] == ["one, n = 3", "two, n = 1"]
    table = shares.table(nets, lambda rows: torch.full((3,), 0.5))
    assert table.loc["one", ["runs", "shared, %", "shuffled, %"]].tolist() == [3, "50", "50"]
    assert table.loc["one", "difference"] == "+0.0 [+0.0, +0.0]"
    assert table["difference"].isna().tolist() == [False, True]


def test_the_shuffled_matrix_stands_below():
    net = network(0)
    upper, lower, *_ = shares.beside_shuffled(net).axes
    shown = [torch.tensor(ax.collections[0].get_array()).reshape(3, 30) for ax in (upper, lower)]
    torch.testing.assert_close(shown[0], net.values)
    assert (shown[1] != net.values).any()
    torch.testing.assert_close(shown[1].sort(1).values.sum(1), net.values.sum(1))


class Run:
    tasks = TASKS
    gate_epochs = (1, 2)

    def gates(self, epoch):
        return network(epoch)


def test_a_path_begins_where_all_is_shared():
    ax = shares.training({"rooms": [Run()]}, shared, lambda r, T: 1 - r / T)
    path, null = ax.lines[:2]
    assert path.get_xydata()[0].tolist() == [0, 100]
    rows = network(1).values
    r = (rows.var(1, correction=0).mean().sqrt() / rows.mean()).item()
    assert path.get_xydata()[1] == pytest.approx([r, 100 * shared(rows).mean().item()])
    assert null.get_xydata()[:, 0].tolist() == path.get_xydata()[1:, 0].tolist()
    assert path.get_label() == "rooms, 3 tasks"


def test_pairs_beyond_shuffled_gates_are_counted():
    values = torch.rand(1, 200, generator=torch.Generator().manual_seed(0)).double()
    twins = Importance(torch.cat([values, values, 1 - values]), TASKS, {"1": 200})

    def correlation(net):
        return torch.corrcoef(net.values)[[0, 0, 1], [1, 2, 2]]

    row = shares.pairs({"twins": [twins]}, correlation).loc["twins"]
    assert row["mean correlation"] == "-0.33"
    assert (row["pairs below"], row["above"]) == ("67 %", "33 %")


def test_each_knob_has_a_panel(monkeypatch):
    def runs(name):
        return [
            {"value": value, "seed": seed, "multiplier": 10, "gates": value + seed}
            for value in (1, 2)
            for seed in range(3)
        ]

    monkeypatch.setattr("tssbn.claims.studies.runs", runs)
    monkeypatch.setattr(records, "unpack_gates", lambda k: {1: network(k, TASKS[:2])})
    figure = shares.knobs(*[lambda net: net.values[0, 0]] * 3)
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes]
    assert [title.split(",")[0] for title in titles] == [*shares.HARDER, *shares.CLOSER]
    assert all(", n = 3\n" in title for title in titles)
    value = network(1, TASKS[:2]).values[0, 0].item()
    assert figure.axes[0].lines[0].get_ydata()[0] == pytest.approx(value)
