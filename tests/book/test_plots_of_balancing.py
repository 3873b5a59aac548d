"""The figures of the chapter on balancing show what they are given."""

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("scipy")

from tssbn.claims import BedOfRuns
from tssbn.claims.balanced import METHODS
from tssbn.training.balancing import BALANCINGS

plt = pytest.importorskip("matplotlib.pyplot")
balancing_plots = pytest.importorskip("tssbn.plots.balancing")

CENTRES = torch.tensor([[-1.0, 0.0], [1.0, 0.5]], dtype=torch.float64)


def bowls(theta):
    return 1 + (theta - CENTRES).square().sum(-1)


def test_the_kinds_are_all_balancings():
    assert sorted(sum(balancing_plots.KINDS.values(), ())) == sorted(BALANCINGS)


def test_the_pareto_set_of_two_round_bowls_is_a_segment():
    found = balancing_plots.pareto(bowls)
    w = torch.linspace(0, 1, 201, dtype=torch.float64)[:, None]
    expected = (w * CENTRES[0] + (1 - w) * CENTRES[1]).float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, check_dtype=False)


def test_names_of_one_direction_stand_together():
    _, ax = plt.subplots()
    steps = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([0.001, 2.0])}
    steps |= {"c": torch.tensor([[-1.0, 0.5], [-1.0, -0.5]])}
    balancing_plots.compass(ax, steps, torch.eye(2))
    assert [text.get_text() for text in ax.texts] == ["c", "b, a"]


def test_two_measurements_of_each(capsys):
    _, ax = plt.subplots()
    table = {"a": (0.0, 1.0), "b": (1.0, 2.0), "c": (2.0, 3.0), "d": (3.0, 3.9)}
    balancing_plots.repeats(ax, table)
    assert ax.get_title().startswith("Correlation of the two tables: 1.00 [")
    assert ax.get_title().endswith("n = 4")
    assert "its mean: +0.97" in capsys.readouterr().out


def test_a_bed_without_runs_has_empty_panels():
    arms = {arm: ("hps", {"balance": "gls", "epochs": 3}) for arm in ("STL", *METHODS)}
    bed = BedOfRuns("none", "census", arms)
    balancing_plots.added(bed)
    titles = [ax.get_title() for ax in plt.gcf().axes]
    assert titles == [f"{method}: 0 intervals above zero, 0 below" for method in METHODS]
