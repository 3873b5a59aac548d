"""Tables from saved runs: what stands in a cell, and what never stands in one table."""

import re
import statistics
from dataclasses import replace

import pytest
import torch

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")

from tssbn.benchmarks import BENCHMARKS, find_benchmark
from tssbn.cost import delta_m
from tssbn.data.stored import Stored
from tssbn.data.target import Target
from tssbn.records.table import TABLES, table
from tssbn.training.describe import _data

PAPER = ["stl", "hps", "cross-stitch", "mtan", "tsbn", "tsbn-x100", "tssbn"]
METRIC = {"segmentation": "miou", "depth": "absolute", "normal": "mean"}
UP = {"segmentation": True, "depth": False, "normal": False}


def record(method="stl", seed=0, benchmark="nyuv2", values=(0.4, 0.6, 24.0), **changes):
    """A finished run of two epochs; the first is the better one."""
    metric, up = changes.pop("metric", METRIC), changes.pop("directions", UP)
    last = dict(zip(metric, values, strict=True))
    first = {task: value * (1.5 if up[task] else 0.5) for task, value in last.items()}
    return {
        "benchmark": benchmark,
        "method": method,
        "seed": seed,
        "settings": {},
        "options": {},
        "recipe": {"epochs": 2, "batch": 16, "report": "last", "tasks_per_pass": None},
        "data": {
            "kind": "real subset",
            "splits": {
                "train": {"samples": 8000, "official": 162770, "sha256": "a"},
                "test": {"samples": 654, "official": 654, "sha256": "b"},
            },
        },
        "device": "a GPU",
        "note": "",
        "precision": "bf16",
        "parameters": 300 if method == "stl" else 100,
        "macs": 4_000_000_000 if method == "stl" else 3_000_000_000,
        "directions": up,
        "metric": metric,
        "epochs": [
            {"epoch": e, "test": {task: {metric[task]: of[task]} for task in metric}}
            for e, of in ((1, first), (2, last))
        ],
        "finished": True,
        **changes,
    }


def row(made, method):
    return next(row for row in made.rows if row.method == method)


def test_values_are_means_over_seeds_in_the_units_of_the_paper():
    runs = [record(seed=s, values=(v, 0.6, 24.0)) for s, v in enumerate((0.40, 0.41, 0.45))]
    single = row(table("nyuv2", runs), "stl")
    assert single.seeds == (0, 1, 2)
    assert single.values["segmentation"].mean == pytest.approx(42.0)
    assert single.values["segmentation"].std == pytest.approx(statistics.stdev((40, 41, 45)))
    assert single.values["depth"] == pytest.approx((0.6, 0.0))
    assert single.paper["segmentation"] == 41.45


def test_delta_is_each_seed_against_the_mean_of_the_single_task_networks():
    singles = [(0.40, 0.6, 24.0), (0.44, 0.5, 26.0)]
    gated = [(0.45, 0.5, 23.0), (0.44, 0.48, 25.0), (0.50, 0.47, 22.0)]
    runs = [record("stl", seed, values=v) for seed, v in enumerate(singles)]
    runs += [record("tssbn", seed, values=v) for seed, v in enumerate(gated)]
    made = table("nyuv2", runs)
    base = dict(zip(METRIC, (0.42, 0.55, 25.0), strict=True))
    expected = [delta_m(dict(zip(METRIC, v, strict=True)), base, UP) for v in gated]
    delta = row(made, "tssbn").delta
    assert delta.mean == pytest.approx(statistics.fmean(expected))
    assert delta.std == pytest.approx(statistics.stdev(expected))
    assert row(made, "stl").delta.mean == pytest.approx(0)
    assert row(made, "tssbn").parameters == pytest.approx(1 / 3)
    assert row(made, "tssbn").macs == pytest.approx(3 / 4)


def test_the_answer_that_ignores_the_image_is_the_first_row():
    blind = {
        "segmentation": {"miou": 0.3, "accuracy": 0.5},
        "depth": {"absolute": 0.9},
        "normal": {"mean": 30.0},
    }
    runs = [record("stl"), record("hps", constant=blind)]  # of an older run it is not known
    first = table("nyuv2", runs).constant
    assert (first.method, first.title, first.seeds) == ("constant", "constant baseline", ())
    assert first.values == {"segmentation": (30, None), "depth": (0.9, None), "normal": (30, None)}
    # Each is a quarter, a half and a quarter worse than (0.4, 0.6, 24).
    assert first.delta.mean == pytest.approx(-100 / 3)
    assert re.search(r"\nconstant baseline +30\.00 ", str(table("nyuv2", runs)))
    assert table("nyuv2", runs).rows == table("nyuv2", [record("stl"), record("hps")]).rows
    assert table("nyuv2", runs[1:]).constant.delta is None
    older = table("nyuv2", runs[:1])
    assert older.constant is None and "constant baseline" not in str(older)
    pytest.importorskip("pandas")
    assert list(table("nyuv2", runs).frame().index[:2]) == ["constant baseline", "STL"]
    assert list(older.frame().index[:1]) == ["STL"]


def test_without_single_task_networks_there_is_no_delta():
    hps = row(table("nyuv2", [record("hps")]), "hps")
    assert hps.delta is None and hps.values["segmentation"] == (40.0, None)
    assert (hps.parameters, hps.macs) == (100, 3_000_000_000)
    assert "3.0G" in str(table("nyuv2", [record("hps")]))


def test_of_many_attributes_the_mean_counts():
    metric = {"a": "f1", "b": "f1"}
    more = {"benchmark": "celeba", "metric": metric, "directions": dict.fromkeys(metric, True)}
    runs = [record("stl", values=(0.2, 0.8), **more), record("hps", values=(0.3, 0.6), **more)]
    made = table("celeba", runs)
    assert list(made.tasks) == ["mean"]
    assert row(made, "hps").values["mean"].mean == pytest.approx(45)
    assert row(made, "hps").delta.mean == pytest.approx(-10)  # the mean of the gains is +12.5
    assert row(made, "hps").paper["mean"] == 67.06
    blind = {"a": {"f1": 0.3}, "b": {"f1": 0.1}}
    made = table("celeba", [*runs, record("stl", 1, values=(0.2, 0.8), constant=blind, **more)])
    assert made.constant.values == {"mean": (20, None)}
    assert made.constant.delta.mean == pytest.approx(-60)


def test_the_best_epoch_instead():
    made = table("nyuv2", [record()], best=True)
    assert row(made, "stl").values["segmentation"].mean == pytest.approx(60)
    assert "best on the test data" in made.caption


def test_a_value_that_is_not_a_number_is_seen():
    broken = record("hps")
    broken["epochs"][-1]["test"]["segmentation"]["miou"] = None
    made = table("nyuv2", [record(), broken])
    assert "nan" in str(made) and row(made, "hps").values["depth"].mean == 0.6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"recipe": {"epochs": 3, "batch": 16, "report": "last"}},
            r"'epochs' of recipe is 3 and 2",
        ),
        ({"settings": {"n": 5}}, r"'n' of settings is 5 and None"),
        (
            {"data": {"kind": "real", "splits": {"train": {"sha256": "c"}}}},
            r"'train' of data is c and a",
        ),
        ({"benchmark": "rooms"}, "rooms/hps-1 is a run of rooms, not of nyuv2"),
        ({"finished": False}, "nyuv2/hps-1 is not finished"),
        ({"method": "stl", "seed": 0}, "two runs of nyuv2/stl-0"),
    ],
)
def test_what_does_not_belong_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        table("nyuv2", [record(), record(**{"method": "hps", "seed": 1} | changes)])


def drawn(method, bits=0.0, floor=0, n=4, told=True):
    """A record of a run on synthetic data; ``bits`` are added to what is no class."""
    tensors = {
        "image": torch.full((n, 3, 2, 2), 7, dtype=torch.uint8),
        "depth": torch.full((n, 1, 2, 2), 2 + bits),
        "segmentation": torch.full((n, 2, 2), floor, dtype=torch.int8),
    }
    targets = {"depth": Target("depth", ignore=0), "segmentation": Target("classes", ("a", "b"))}
    data = {split: Stored(tensors, targets) for split in ("train", "test")}
    described = _data(data, data, synthetic=True)
    if not told:  # as older runs
        for part in described["splits"].values():
            del part["labels"]
    return record(method, benchmark="rooms", data=described)


def test_synthetic_data_of_other_bits_are_compared_and_it_is_said():
    one, other = drawn("stl"), drawn("hps", bits=2**-20)
    assert one["data"]["splits"]["test"]["sha256"] != other["data"]["splits"]["test"]["sha256"]
    made = table("rooms", [one, other])
    assert row(made, "hps").delta is not None
    assert (
        "synthetic data (4 train, 4 test); the data of the runs differ in bits (the labels agree);"
        in (made.caption)
    )
    assert "differ in bits" not in table("rooms", [one, drawn("hps")]).caption


def test_older_runs_do_not_say_whether_labels_agree():
    said = "differ in bits (older runs have no hash of their labels)"
    for told in (True, False):
        runs = [drawn("stl", told=told), drawn("hps", bits=2**-20, told=False)]
        assert said in table("rooms", runs).caption
    assert "differ in bits" not in table("rooms", [drawn(m, told=False) for m in PAPER]).caption


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"floor": 1}, "hps-0 cannot stand beside rooms/stl-0: the sha256 of the labels of train"),
        ({"n": 5}, "hps-0 cannot stand beside rooms/tssbn-0: 'train' of data is 5 and 4"),
    ],
)
def test_synthetic_data_of_other_labels_or_sizes_are_refused(changes, message):
    """Also where the first run does not say which labels it had."""
    with pytest.raises(ValueError, match=message):
        table("rooms", [drawn("tssbn", told=False), drawn("stl"), drawn("hps", **changes)])


def test_where_no_label_is_a_whole_number_all_bits_count():
    def depths(bits):
        data = {"train": Stored({"image": torch.ones(1, 3, 2, 2), "depth": torch.ones(1) + bits},
                                {"depth": Target("depth")})}  # fmt: skip
        return _data(data, data, synthetic=True)

    runs = [record(m, benchmark="rooms", data=depths(b)) for m, b in (("stl", 0), ("hps", 1))]
    with pytest.raises(ValueError, match="the labels of train"):
        table("rooms", runs)


def test_tasks_per_pass_may_differ():
    recipe = {"epochs": 2, "batch": 16, "report": "last", "tasks_per_pass": 1}
    assert len(row(table("nyuv2", [record(), record(seed=1, recipe=recipe)]), "stl").seeds) == 2


def test_a_run_from_before_a_field_of_the_recipe_stands_beside_its_default():
    old = record()
    new = {**old["recipe"], "clip": None, "interval": "epoch", "warmup": 0.0}
    assert len(row(table("nyuv2", [old, record(seed=1, recipe=new)]), "stl").seeds) == 2
    for other in {"clip": 1.0}, {"interval": "step"}:
        with pytest.raises(ValueError, match="cannot stand beside"):
            table("nyuv2", [old, record(seed=1, recipe=new | other)])


def test_the_caption_says_what_its_columns_are():
    single = " ".join(str(table("nyuv2", [record("hps")])).split())
    assert "±" not in single and "no Δm, as there is no saved run of STL" in single
    assert "#P: trained parameters, #F: MACs of a sample for all tasks; no" in single
    several = " ".join(str(table("nyuv2", [record(), record("hps"), record("hps", 1)])).split())
    assert "± is the standard deviation over seeds" in several
    assert "for all tasks, both as ratios to those of STL" in several and "no Δm" not in several


def test_a_setting_that_some_runs_lack_is_told_with_their_methods():
    of_all = {"epochs": 5, "height": 96}
    runs = [
        record("stl", settings=of_all),
        record("deep-gates", settings=of_all | {"first": 4}, options={"first": 4}),
    ]
    said = table("nyuv2", runs).caption
    assert "; epochs=5, height=96; deep-gates with first=4; " in said


def test_parts_of_one_official_split_are_counted_together():
    parts = {"train": 7000, "val": 1000, "test": 2000}
    splits = {k: {"samples": n, "official": 162770, "sha256": k} for k, n in parts.items()}
    made = table("nyuv2", [record(data={"kind": "real subset", "splits": splits})])
    counts = "7,000 train, 1,000 val, 2,000 test, all of the 162,770 of one official split"
    assert f"real subset data ({counts})" in made.caption
    assert "8,000 of 162,770 train, 654 test" in table("nyuv2", [record()]).caption


def test_a_table_without_saved_runs_has_the_paper_and_empty_cells():
    for name in TABLES["1"]:
        if not find_benchmark(name)().paper:
            continue
        made = table(name, [])
        assert [row.method for row in made.rows] == PAPER
        assert all(not row.values and row.delta is None for row in made.rows)
        assert "no saved runs" in str(made)
        assert f"{find_benchmark(name)().paper['tssbn']['delta']:+.2f}" in str(made)


def test_the_text_fits_a_terminal():
    runs = [record(m, s, values=(0.4 + s / 7, 0.6, 24.0)) for m in PAPER for s in range(3)]
    text = str(table("nyuv2", runs))
    assert max(map(len, text.splitlines())) <= 100
    caption = " ".join(text.split())
    assert "real subset data (8,000 of 162,770 train, 654 test)" in caption
    assert "bf16 on a GPU" in caption and "the last of 2 epochs" in caption
    for cell in ("54.29 ± 14.29", "0.600 ± 0.000", "24.00 ± 0.00", "+0.00 ±", "0.33", "TSBN ×100"):
        assert cell in text, cell


def test_what_the_runs_note_stands_beside_the_numbers():
    runs = [record(note="normals derived from depth"), record("hps"), record("tssbn", note="late")]
    said = table("nyuv2", runs).caption.split("; ")
    assert said[1:3] == ["late", "normals derived from depth"]


def test_no_gain_has_no_minus():
    runs = [record(seed=s, values=(v, 0.5, 24.0)) for s, v in enumerate((0.1, 0.2, 0.3, 0.7))]
    assert "-0.00" not in str(table("nyuv2", runs))


def test_other_methods_come_last():
    assert table("rooms", [record("another", benchmark="rooms")]).rows[-1].title == "another"


def test_a_benchmark_of_ones_own():
    mine = replace(find_benchmark("rooms")(), name="mine", title="My rooms")
    made = table(mine, [record("hps", benchmark="mine")])
    assert str(made).startswith("My rooms\n") and row(made, "hps").seeds == (0,)
    with pytest.raises(ValueError, match="rooms/hps-0 is a run of rooms, not of mine"):
        table(mine, [record("hps", benchmark="rooms")])


def test_as_a_frame():
    pytest.importorskip("pandas")
    runs = [record("stl"), record("tssbn", values=(0.5, 0.5, 24.0)), record("tssbn", 1)]
    frame = table("nyuv2", runs).frame()
    assert list(frame.index) == ["STL", "HPS", "Cross-Stitch", "MTAN", "TSBN", "TSBN ×100", "TSσBN"]
    gated = frame.loc["TSσBN"]
    assert gated["seeds"] == 2 and gated["segmentation"] == pytest.approx(45)
    assert gated["segmentation paper"] == 43.75 and gated["Δm paper"] == 6.93
    assert frame["segmentation"].notna().sum() == 2


def test_the_baseline_is_that_of_the_benchmark():
    runs = [record("hps", benchmark="nyuv2_libmtl"), record("stl", benchmark="nyuv2_libmtl")]
    runs.append(record("mmoe", benchmark="nyuv2_libmtl", values=(0.5, 0.6, 24.0)))
    made = table("nyuv2_libmtl", runs)
    assert row(made, "mmoe").delta.mean == pytest.approx(25 / 3)
    assert row(made, "hps").delta.mean == 0 and row(made, "mmoe").paper["delta"] == -0.15
    assert "Δm against the mean of our HPS" in made.caption
    assert table("nyuv2_libmtl", runs[1:]).rows[0].delta is None


def test_what_is_known_without_data():
    real = {name for name in BENCHMARKS if find_benchmark(name)().source}
    assert real == {name for names in TABLES.values() for name in names} | {"treebank"}
    with pytest.raises(ValueError, match="benchmark='x' is unknown, use one of nyuv2"):
        table("x", [])


def test_options_of_a_method_may_differ_from_those_of_others_but_not_within_a_row():
    fast = {"settings": {"multiplier": 10}, "options": {"multiplier": 10}}
    made = table("nyuv2", [record("stl", 0), record("tssbn", 0, **fast)])
    assert "multiplier=10" in made.caption
    assert next(row for row in made.rows if row.method == "tssbn").delta is not None
    with pytest.raises(ValueError, match="in a row with others of tssbn"):
        table("nyuv2", [record("tssbn", 0, **fast), record("tssbn", 1)])


def balanced(method, seed=0, **options):
    settings = {"balance": "pcgrad"} | {f"balance.{key}": v for key, v in options.items()}
    values = (0.5, 0.6, 24.0) if method == "hps" else (0.8, 0.6, 24.0)
    more = {"settings": settings, "balance": "pcgrad", "balance_options": options}
    return record(method, seed, values=values, **more)


def test_a_balancing_has_a_row_and_is_compared_with_plain_single_task_networks():
    made = table("nyuv2", [record("stl"), balanced("stl"), record("hps"), balanced("hps")])
    rows = {(row.method, row.balance): row for row in made.rows if row.seeds}
    assert [row.title for row in rows.values()] == ["STL", "STL + pcgrad", "HPS", "HPS + pcgrad"]
    # Segmentation has 0.5 for 0.4, the other two are the same: +25 % in one of three.
    assert rows["hps", "pcgrad"].delta.mean == pytest.approx(25 / 3)
    assert rows["hps", "sum"].delta.mean == pytest.approx(0)
    assert rows["hps", "sum"].paper and not rows["hps", "pcgrad"].paper


def test_a_table_of_balanced_runs_alone_has_no_delta():
    assert row(table("nyuv2", [balanced("hps")]), "hps").delta is None
    (of_pcgrad,) = (r for r in table("nyuv2", [balanced("hps")]).rows if r.seeds)
    assert of_pcgrad.delta is None and of_pcgrad.balance == "pcgrad"


def test_options_of_a_balancing_stand_above_the_table_and_agree_within_a_row():
    made = table("nyuv2", [record("stl"), balanced("hps", lr=0.1)])
    assert "balance.lr=0.1" in made.caption and "balance=" not in made.caption
    with pytest.raises(ValueError, match="in a row with others of hps"):
        table("nyuv2", [balanced("hps", lr=0.1), balanced("hps", 1, lr=0.2)])


def test_other_settings_of_a_balanced_run_must_agree():
    other = balanced("hps")
    other["settings"]["n"] = 5
    with pytest.raises(ValueError, match="'n' of settings is 5 and None"):
        table("nyuv2", [record("stl"), other])


def recipe(batch, epochs=2):
    return {"epochs": epochs, "batch": batch, "report": "last"}


def test_a_method_whose_protocol_changes_the_recipe_is_compared_and_it_is_said():
    own = {"recipe": recipe(4), "protocol": {"batch": 4}}
    first, last = record("mtan", **own), record("mtan", 1, **own)
    for runs in ([first, last, record("stl")], [record("stl"), first, last]):
        made = table("nyuv2", runs)
        assert row(made, "mtan").delta is not None
        assert "; mtan with batch=4; " in made.caption
    late = record("mtan", **own | {"recipe": recipe(4, epochs=9)})
    for wrong in (record("hps", recipe=recipe(4)), late):
        with pytest.raises(ValueError, match=r"-0 cannot stand beside .* of recipe is"):
            table("nyuv2", [first | {"seed": 7}, record("stl"), wrong])


def test_what_a_benchmark_is_tuned_to_is_said():
    tuned = record("tssbn", options={"multiplier": 25}, protocol={"lr": 0.002})
    named = record("tsbn", options={"multiplier": 3}, settings={"multiplier": 3})
    assert "; tssbn with lr=0.002, multiplier=25; " in table("nyuv2", [tuned]).caption
    assert "; multiplier=3; the last" in table("nyuv2", [named]).caption


def test_units_are_those_that_the_runs_say():
    units = {"segmentation": "%", "depth": "m", "normal": "°"}
    text = str(table("nyuv2", [record(units=units)]))
    assert "absolute m ↓" in text and "mean ° ↓" in text and "miou % ↑" in text
    metric, up = {"a": "new"}, {"a": True}
    more = {"metric": metric, "directions": up, "benchmark": "rooms"}
    new = record(values=(0.25,), **more)
    assert row(table("rooms", [new]), "stl").values["a"].mean == 0.25
    assert row(table("rooms", [new | {"units": {"a": "%"}}]), "stl").values["a"].mean == 25


def test_parameters_and_macs_may_be_absolute():
    """Tables 3 and 4 print them so, and the paper's stand beside them."""
    metric = {"segmentation": "miou", "parts": "miou", "saliency": "miou", "normal": "mean"}
    up = {task: task != "normal" for task in metric}
    runs = [
        record(m, benchmark="pascal4", values=(0.6, 0.6, 0.6, 18.0), metric=metric, directions=up)
        for m in ("stl", "hps")
    ]
    made = table("pascal4", runs)
    assert [row(made, m).parameters for m in ("stl", "hps")] == [300, 100]
    assert row(made, "hps").macs == 3e9 and row(made, "hps").delta.mean == 0
    lines = [line.split() for line in str(made).splitlines()]
    assert ["the", "paper", "67.21", "61.93", "62.35", "17.97", "112.62M"] in lines
    assert ["the", "paper", "67.56", "60.24", "65.21", "16.64", "+2.23", "30.06M"] in lines
    assert list(made.tasks) == list(table("pascal4", []).tasks) == list(metric)
