"""The figures of gains show what they are given."""

import pytest

from tssbn.records import SavedRun, SavedRuns

plt = pytest.importorskip("matplotlib.pyplot")
pytest.importorskip("scipy")
pytest.importorskip("timm")
gain_plots = pytest.importorskip("tssbn.plots.gains")


def runs(*scores, method="hps"):
    """Of two tasks, the second with an error to be small; the constant answer has 0.2 and 8."""
    names, records = ("seg", "depth"), []
    for seed, values in enumerate(scores):
        record = {
            "seed": seed,
            "method": method,
            "benchmark": "b",
            "metric": dict.fromkeys(names, "m"),
            "directions": {"seg": True, "depth": False},
            "recipe": {"report": "last"},
            "epochs": [
                {"test": {task: {"m": v} for task, v in zip(names, values, strict=True)}},
            ],
            "constant": {"seg": {"m": 0.2}, "depth": {"m": 8.0}},
        }
        records.append(SavedRun(f"b/{seed}", record))
    return SavedRuns(tuple(records))


def test_a_gain_has_the_sign_that_is_good():
    found = {"stl": runs((0.4, 4.0), (0.4, 4.0)), "hps": runs((0.5, 5.0), (0.3, 3.0))}
    printed = {"stl": {"seg": 40.0, "depth": 2.0}, "hps": {"seg": 50.0, "depth": 3.0}}
    axes = gain_plots.gains_by_task(found, printed=printed).axes
    for ax, expected, diamond in zip(axes, ([25, -25], [-25, 25]), (25, -50), strict=True):
        _, dots, mean, paper = (line.get_xdata() for line in ax.lines)
        assert list(dots) == pytest.approx(expected)
        assert list(mean) == pytest.approx([0], abs=1e-9)
        assert list(paper) == pytest.approx([diamond])
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["HPS"]
    assert "constant baseline: -50 %" in axes[0].get_title("left") + axes[0].get_title()


def test_the_band_is_the_error_of_the_baseline():
    found = {"stl": runs((0.4, 4.0), (0.4, 5.0), (0.4, 6.0)), "hps": runs((0.5, 5.0), (0.5, 5.0))}
    axes = gain_plots.gains_by_task(found).axes
    narrow, wide = (ax.patches[0].get_width() for ax in axes)
    assert narrow < 1e-9 and wide > 10


def test_curves_have_a_line_for_each_method_and_one_for_the_constant():
    found = {"stl": runs((0.4, 4.0), method="stl"), "hps": runs((0.5, 5.0))}
    figure = gain_plots.learning_by_task(found, {"seg": "mIoU", "depth": "error, m"})
    assert [ax.get_ylabel() for ax in figure.axes] == ["mIoU", "error, m"]
    ends = [line.get_ydata()[-1] for line in figure.axes[1].lines]
    assert ends == [4.0, 5.0, 8.0]
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["STL", "HPS", "constant baseline"]
