"""The figures of the chapter on experts show what they are given."""

import re
from pathlib import Path

import pytest

pytest.importorskip("scipy")

from tssbn.claims import Effect

plt = pytest.importorskip("matplotlib.pyplot")
expert_plots = pytest.importorskip("tssbn.plots.experts")

IMAGES = Path(__file__).resolve().parents[2] / "book/images"
EFFECTS = {
    "a": Effect(1.0, error=0.25, df=6, critical=2, n=(3, 5)),
    "b": Effect(-1.0, error=0.5, df=5, critical=2, n=(2, 5)),
}


def test_effects_have_their_interval_and_what_would_be_seen():
    _, ax = plt.subplots()
    expert_plots.effects(ax, EFFECTS)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    visible = [effect.visible for effect in EFFECTS.values()]
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(-x, 2 * x) for x in visible]
    segments = [line.get_segments()[0][:, 0].tolist() for line in ax.collections]
    assert segments == [[0.5, 1.5], [-2.0, 0.0]]


def test_a_panel_for_each_bed_with_effects_counts_them():
    figure = expert_plots.bed_effects({"one": EFFECTS, "none": {}}, "HPS")
    (ax,) = figure.axes
    assert ax.get_title() == "one, n = 2 to 5: 1 of 2 intervals above zero, 0 below"


def test_prices_are_dots_with_names_in_front_of_the_band():
    _, ax = plt.subplots()
    expert_plots.prices(ax, {"hps": {}, "ple": {"delta": 0.3}}, {"hps": 1, "ple": 6}, band=0.5)
    assert [line.get_xydata().tolist() for line in ax.lines] == [[[1, 0]], [[6, 0.3]]]
    assert (ax.patches[0].get_y(), ax.patches[0].get_height()) == (-0.5, 1)


@pytest.mark.parametrize("dark", [*IMAGES.glob("*-dark.svg")], ids=lambda path: path.stem)
def test_a_dark_drawing_differs_in_its_colours_alone(dark):
    light = dark.with_name(dark.name.replace("-dark", ""))
    drawings = [path.read_text(encoding="utf-8") for path in (light, dark)]
    assert drawings[0] != drawings[1]
    bare = [re.sub(r"#[0-9a-f]{6}\b", "", drawing, flags=re.IGNORECASE) for drawing in drawings]
    assert bare[0] == bare[1]
