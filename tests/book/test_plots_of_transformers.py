"""The tables and figures of the chapter on transformers show what they are given."""

import json

import pytest

plt = pytest.importorskip("matplotlib.pyplot")
plots = pytest.importorskip("tssbn.plots.transformers")

DELTA = {"hps": 3.0, "lora": 1.0, "bitfit": -2.0, "tssbn-frozen": 2.0, "adapter": 0.0}
COUNTED = {method: (10**n, 7, 0) for n, method in enumerate(DELTA, 1)}


def test_each_method_has_a_mark_where_it_belongs():
    _, ax = plt.subplots()
    passes = dict.fromkeys(DELTA, 4.0) | {"hps": 1.0}
    plots.trained(ax, COUNTED, {m: {"delta": y} for m, y in DELTA.items()}, passes, gates=5)
    marks = {
        tuple(line.get_xydata()[0]): line.get_marker()
        for line in ax.lines
        if len(line.get_xydata()) == 1
    }
    assert marks.pop((5, 2.0)) == "o"
    assert marks == {
        (10**n, DELTA[method]): "s" if method == "hps" else "o" for n, method in enumerate(DELTA, 1)
    }


def test_each_gain_has_its_interval():
    Effect = pytest.importorskip("tssbn.claims").Effect
    gains = [Effect(y, error=1.0, df=9, critical=2.0, n=(3, 3)) for y in (5.0, -1.0)]
    rows = [plots.Adapted("lora", 100, 2.0, gains[0]), plots.Adapted("full", 10, 1.0, gains[1])]
    figure, ax = plt.subplots()
    plots.adapted(ax, rows, {"constant": -20.0})
    figure.canvas.draw()
    bars = [bar.get_children() for bar in ax.containers]
    marks = {(*line.get_xydata()[0], line.get_marker()) for line, *_ in bars}
    assert marks == {(5.0, 0, "o"), (-1.0, 1, "s")}  # the fewest parameters on top
    ends = {tuple(lines.get_segments()[0][:, 0]) for _, lines in bars}
    assert ends == {(3.0, 7.0), (-3.0, 1.0)}
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "LoRA  100",
        "full fine-tuning  10",
    ]
    assert -20.0 in [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata())]


def test_gains_are_over_the_heads_alone_with_size_and_work_of_a_run(folder):
    Measured = pytest.importorskip("tssbn.claims").Measured
    pytest.importorskip("torchvision")
    (folder / "adapt").mkdir(parents=True)
    for method, size, macs in (("heads-only", 10, 50), ("lora", 14, 100), ("full", 99, 55)):
        record = {"parameters": size, "decoder_parameters": 10, "macs": macs, "seed": 0}
        (folder / f"adapt/{method}-0.json").write_text(json.dumps(record))
    found = {"heads-only": [1.0, 3.0], "lora": [4.0, 8.0], "full": [5.0, 6.0]}
    rows = plots.over_heads("adapt", Measured("digits", found, paired=True))
    assert [(row.method, row.trunk, row.passes, row.gain.value) for row in rows] == [
        ("lora", 4, 2.0, 4.0),
        ("full", 89, 1.1, 3.5),
    ]
    assert plots.over_heads("adapt", Measured("", {"heads-only": [1.0], "lora": [2.0]})) == []
    with pytest.raises(ValueError, match="found has no 'heads-only', but lora"):
        plots.over_heads("adapt", Measured("digits", {"lora": [4.0, 8.0]}))
