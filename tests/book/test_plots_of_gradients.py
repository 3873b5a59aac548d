"""The figures and tables of the chapter on gradients show what they are given."""

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("torchvision")
pd = pytest.importorskip("pandas")
plt = pytest.importorskip("matplotlib.pyplot")
gradient_plots = pytest.importorskip("tssbn.plots.gradients")


def study(**scale):
    """Cosines of two steps and three pairs, for each of three seeds."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(3, 2, 3)) / 10
    return {
        variant: [
            {
                "all": (scale.get(method, 1) * cosines).tolist(),
                "end": {key: [0.25, -0.25] for key in gradient_plots.ASKED.values()},
            }
            for cosines in drawn
        ]
        for method, variant in gradient_plots.FIRST_EPOCH.items()
    }


def saved(cosines, conflict=0.0):
    """A run of ten steps, two cosines each, of which the first tenth is one step."""
    all_ = [[cosines, cosines - conflict]] * 10
    return {
        "angles": {"steps": list(range(1, 11)), "all": all_, "layers": {"one": all_, "two": all_}},
        "recipe": {"epochs": 1, "batch": 1},
        "data": {"splits": {"train": {"samples": 10}}},
    }


def test_each_pair_has_a_panel_with_all_kinds_of_all_runs():
    runs = [{"two tasks": [0.01], "one task": [0.96]}] * 2
    figure = gradient_plots.histograms({"a and b": runs, "a and c": runs})
    assert [ax.get_title() for ax in figure.axes] == ["a and b", "a and c"]
    for ax in figure.axes:
        filled = max(ax.patches[:40], key=lambda bar: bar.get_height())
        assert filled.get_x() == pytest.approx(0)
        assert filled.get_height() == pytest.approx(1 / 0.05)  # a density: all lie in one bin
        assert ax.patches[40].get_xy()[:, 0].min() == pytest.approx(-1)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["two tasks", "one task"]


def test_the_claim_has_the_spreads():
    found = study(hps=2)
    spread = np.std([run["all"] for run in found["tssbn .1"]])
    said = gradient_plots.claim(found)
    assert f"from {2 * spread:.2f} to {spread:.2f}; random gates narrow it to {spread:.2f}" in said


def test_densities_have_spread_and_conflicts_in_their_key():
    _, ax = plt.subplots()
    found = study(hps=2)
    gradient_plots.densities(ax, found)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [label.split(":")[0] for label in labels] == ["HPS", "TSBN", "TSσBN", "random gates"]
    cosines = np.ravel([run["all"] for run in found["hps"]])
    assert labels[0].endswith(f"{cosines.std():.2f}, {100 * (cosines < 0).mean():.0f} %")
    x, y = ax.lines[0].get_data()
    assert y.sum() * (x[1] - x[0]) == pytest.approx(1, abs=0.01)


def test_a_training_begins_with_the_untrained_network():
    _, ax = plt.subplots()
    run = saved(0.5)
    run["angles"]["all"] = [[0.1, -0.1], *run["angles"]["all"][1:]]
    gradient_plots.training(ax, {"hps": [run, run], "tsbn": [{}]})
    (line,) = ax.lines
    assert line.get_ydata() == pytest.approx([0.1, 0.1, *[0.5] * 9])
    assert line.get_label() == "HPS, n = 2"


def test_the_table_compares_with_hps():
    runs = {
        "hps": [saved(0.5), saved(0.4), saved(0.6)],
        "tssbn": [saved(0.2, 0.3), saved(0.3, 0.4), saved(0.1, 0.2)],
    }
    table = gradient_plots.table(runs)
    assert table.loc["mean |cos|", "HPS"] == "0.50"
    assert table.loc["mean |cos|, by layer", "TSσBN"] == table.loc["mean |cos|", "TSσBN"]
    assert table.loc["conflicts, %"].tolist()[:2] == ["0", "50"]
    assert table.loc["conflicts, %", "TSσBN − HPS"].startswith("+50")


def test_differences_have_a_line_for_each_method_and_the_null():
    said = gradient_plots.differences(study(hps=3)).splitlines()
    assert [line.split(":")[0].removeprefix("TSσBN − ") for line in said] == [
        "HPS",
        "TSBN",
        "random gates",
    ]
    assert "conflicts +0 [" in said[1] and said[1].endswith("n = 3 each")


def test_changed_gates_have_the_size_of_their_cosines():
    table = gradient_plots.interventions(study())
    assert table.index.tolist() == ["TSσBN", "random gates"]
    assert (table == "0.25").all(axis=None)


def test_islands_are_named_by_their_silhouette():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    together = rng.normal(size=(2, 12, 3))
    apart = together + np.array([0, 100])[:, None, None]
    gradient_plots.islands({"apart": apart, "together": together}, ["a", "b"])
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in plt.gcf().axes]
    assert titles[0].startswith("apart: silhouette 0.9")
    assert titles[1].startswith(("together: silhouette 0.0", "together: silhouette -0.0"))


def test_probes_are_those_of_a_tasks_own_attribute():
    def run(auc, **more):
        return {"probes": [[auc, 0.1], [0.2, auc]], **more}

    names = ("trained", "trained, shuffled", "trained, averaged", "untrained, shuffled", "HPS")
    study = [
        {**{name: run(0.8 + x, silhouette=0.1) for name in names}, "STL": run(0.9 + x)}
        for x in (0, 0.01)
    ]
    table = gradient_plots.features(study)
    assert table.loc["STL"].tolist() == ["", "0.91", "-0.1 [-0.1, -0.1]"]
    assert table.loc["TSσBN"].tolist() == ["0.10", "0.81", ""]
