"""The reader of saved runs: by benchmark, method, seeds and settings."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("torchvision")
pytest.importorskip("timm")

from tssbn import records
from tssbn.benchmarks import find_benchmark


def write(folder, name, **content):
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_runs_are_found_by_method_seeds_and_settings(folder):
    for seed in (0, 2, 5):
        write(folder, f"rooms/tssbn-{seed}-multiplier=10", seed=seed)
    write(folder, "rooms/hps-0-n=400-weight.depth=2.0", seed=0)
    write(folder, "rooms/hps-1", seed=1)
    runs = records.of("rooms", "tssbn", seeds=(5, 1, 0), multiplier=10)
    assert [run.name for run in runs] == [f"rooms/tssbn-{s}-multiplier=10" for s in (5, 0)]
    assert runs.seeds == (5, 0) and runs.missing == ("rooms/tssbn-1-multiplier=10",)
    assert records.of("rooms", "hps", [0], {"weight.depth": 2.0}, n=400).seeds == (0,)
    assert not records.of("rooms", "stl")


def test_a_setting_that_changes_nothing_is_no_part_of_the_name(folder):
    write(folder, "faces/tssbn-0", seed=0)
    assert records.of("faces", "tssbn", [0], multiplier=100).seeds == (0,)


def test_a_real_benchmark_needs_no_folder_of_data(folder):
    write(folder, "nyuv2/hps-0", seed=0)
    assert records.of("nyuv2", "hps").seeds == (0,)


def test_a_benchmark_of_one_s_own_is_read_by_its_name(folder):
    mine = replace(find_benchmark("rooms")(), name="mine", average=True)
    write(folder, "mine/hps-0", seed=0)
    runs = records.of(mine, "hps")
    assert runs.seeds == (0,) and runs.average


def test_whether_the_mean_of_the_tasks_counts_is_said_by_the_benchmark(folder):
    write(folder, "a", seed=0)
    assert records.of("faces", "hps").average and not records.of("rooms", "hps").average


def test_without_any_saved_run_there_are_none(folder):
    assert records.load_default("rooms") == []
    assert records.of("rooms", "hps").missing == ("rooms/hps-0", "rooms/hps-1", "rooms/hps-2")


def test_unknown_names_and_settings_are_refused(folder):
    write(folder, "a", seed=0)
    with pytest.raises(ValueError, match="'multiplyer'"):
        records.of("rooms", "tssbn", multiplyer=10)
    with pytest.raises(ValueError, match="'roms'"):
        records.of("roms", "tssbn")
    with pytest.raises(ValueError, match="settings are given twice: n"):
        records.of("rooms", "tssbn", settings={"n": 4}, n=5)


def test_the_default_runs_are_those_without_settings_in_the_order_of_tables(folder):
    for name in ("tssbn-0", "stl-1", "stl-0", "hps-0-n=400", "tsbn-4"):
        write(folder, f"rooms/{name}", seed=0)
    assert [run.name for run in records.load_default("rooms")] == [
        "rooms/stl-0",
        "rooms/stl-1",
        "rooms/tssbn-0",
    ]
