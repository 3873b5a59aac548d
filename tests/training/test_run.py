"""A run: four values and a name; what its settings change, and which are refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("lightning_fabric")

import tiny

from tssbn.benchmarks import BENCHMARKS, find_benchmark
from tssbn.methods import METHODS, Method, find_method, hard_sharing
from tssbn.training.loop import train
from tssbn.training.run import RECIPE, Run
from tssbn.training.settings import options_of

SAVED = Path(__file__).resolve().parents[2] / "data/results"


def saved():
    """The saved runs of ``train``; the other files are studies."""
    for path in sorted(SAVED.glob("*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict) and {"recipe", "method", "settings"} <= record.keys():
            yield f"{path.parent.name}/{path.stem}", record


def test_every_saved_run_has_the_name_that_its_settings_give():
    runs = dict(saved())
    assert len(runs) > 100
    for name, record in runs.items():
        run = Run(*(record[key] for key in ("benchmark", "method", "seed", "settings")))
        assert run.name == name
        assert (run.settings, run.options) == (record["settings"], record["options"])


@pytest.mark.parametrize("benchmark", ["rooms_segnet", tiny.run().benchmark])
def test_a_setting_is_applied_named_and_saved(benchmark):
    run = Run(benchmark, "tssbn", settings={"multiplier": 10})
    assert run.name.endswith("/tssbn-0-multiplier=10")
    assert run.settings == run.options == {"multiplier": 10}
    with pytest.raises(
        ValueError, match=r"'multiplyer' is unknown \(did you mean 'multiplier'\?\); known"
    ):
        Run(benchmark, "tssbn", settings={"multiplyer": 10})


def test_the_options_reach_the_optimiser_of_a_benchmark_of_ones_own():
    slow, usual = (
        train(tiny.run(epochs=1, settings=settings), accelerator="cpu")
        for settings in ({"multiplier": 1e-9}, {})
    )
    assert slow.net.trunk[1].gamma.abs().max() < 1e-8 < usual.net.trunk[1].gamma.abs().max()


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        ({"weight.depth": 2}, {"weight.depth": 2.0}, "weight.depth=2.0"),
        ({"multiplier": 10}, {"multiplier": 10.0}, "multiplier=10"),
        ({"n": 8}, {"n": 8.0}, "n=8"),
        ({"lr": 1}, {"lr": 1.0}, "lr=1"),
        ({"tasks_per_pass": 2}, {"tasks_per_pass": 2.0}, "tasks_per_pass=2"),
    ],
)
def test_equal_numbers_name_one_run(one, other, name):
    assert Run("rooms_segnet", "tssbn", settings=one).name == f"rooms_segnet/tssbn-0-{name}"
    assert Run("rooms_segnet", "tssbn", settings=one) == Run(
        "rooms_segnet", "tssbn", settings=other
    )


def test_what_changes_nothing_is_left_out():
    same = {"epochs": 8, "n": 800, "multiplier": 100, "weight.depth": 1, "balance": "sum"}
    run = Run("rooms_segnet", "tssbn", settings=same)
    assert run.name == "rooms_segnet/tssbn-0" and not run.settings
    assert run == Run("rooms_segnet", "tssbn") != Run("rooms_segnet", "tssbn", 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0.5}, "n=0.5 must be of type int, as 800 is"),
        ({"n": True}, "n=True must be of type int"),
        ({"lr": "fast"}, "lr='fast' must be of type float"),
        ({"schedule": 3}, "schedule=3 must be of type str"),
        ({"schedule": "a/b"}, "schedule='a/b' cannot be part of the name of a file"),
        ({"tasks_per_pass": "all"}, "tasks_per_pass='all' must be of type int or float"),
        (
            {"depth": 50},
            "'depth' is unknown.*; .* classes of benchmark rooms",
        ),
        ({"weights": {"depth": 2}}, "'weights' is unknown.*; .*, and weight.<task>"),
    ],
)
def test_a_setting_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        Run("rooms_segnet", "hps", settings=settings)


def test_a_setting_of_two_meanings_is_refused_where_it_is_given():
    def build(network, outputs, filters: int = 3): ...

    clash = Method("clash", build)
    assert Run("rooms_segnet", clash).name == "rooms_segnet/clash-0"
    with pytest.raises(ValueError, match="'filters' means two things: rename that of benchmark ro"):
        Run("rooms_segnet", clash, settings={"filters": 4})


def test_no_setting_of_a_method_means_two_things_on_a_benchmark():
    for name in METHODS:
        options = set(options_of(*find_method(name).functions))
        assert not options & set(RECIPE)
        for benchmark in BENCHMARKS:
            assert not options & set(options_of(find_benchmark(benchmark))), (name, benchmark)


def test_the_recipe_of_a_method_comes_before_that_of_the_benchmark_and_after_settings():
    careful = replace(hard_sharing.METHOD, title="Careful HPS!", settings={"batch": 4})
    runs = [Run("rooms_segnet", careful, settings=s) for s in ({}, {"batch": 4}, {"batch": 16})]
    assert [run.benchmark.recipe.batch for run in runs] == [4, 4, 16]
    assert [run.name.partition("/")[2] for run in runs] == [
        "careful-hps-0",
        "careful-hps-0",
        "careful-hps-0-batch=16",
    ]
    with pytest.raises(ValueError, match="careful-hps sets bach, known are epochs, batch"):
        Run("rooms_segnet", replace(careful, settings={"bach": 4}))


def test_a_method_has_its_own_name_or_that_of_its_title():
    assert Run("rooms_segnet", find_method("tsbn-x100")).name == "rooms_segnet/tsbn-x100-0"
    assert (
        Run("rooms_segnet", replace(hard_sharing.METHOD, name="mine")).name == "rooms_segnet/mine-0"
    )
    with pytest.raises(ValueError, match="no name can be made of title='σ'"):
        Run("rooms_segnet", replace(hard_sharing.METHOD, title="σ"))


def test_it_cannot_be_changed_afterwards():
    run = Run("rooms_segnet", "hps")
    with pytest.raises(AttributeError):
        run.seed = 1
    with pytest.raises(TypeError):  # settings that are applied must not be applied again
        replace(run, seed=1)
    with pytest.raises(ValueError, match="seed=-1 must be 0 or more"):
        Run("rooms_segnet", "hps", -1)


def tuned(**settings):
    """A run of TSσBN on a benchmark that is tuned for it."""
    made = replace(
        find_benchmark("rooms_segnet")(), tuned={"tssbn": {"lr": 0.002, "multiplier": 5}}
    )
    return Run(made, "tssbn", settings=settings)


def test_what_a_benchmark_is_tuned_to_takes_the_place_of_the_defaults():
    run = tuned()
    assert run.name == "rooms_segnet/tssbn-0" and not run.settings
    assert run.benchmark.recipe.lr == 0.002 and run.options == {"multiplier": 5}
    assert run.protocol == {"lr": 0.002}
    assert tuned(lr=0.002, multiplier=5.0) == run
    assert tuned(multiplier=2.5).options == {"multiplier": 2.5}
    other = Run(run.benchmark, "hps")
    assert not other.protocol and not other.options


def test_settings_come_before_what_a_benchmark_is_tuned_to():
    run = tuned(lr=0.003, multiplier=100)  # the defaults of the recipe and of the method
    assert run.name == "rooms_segnet/tssbn-0-lr=0.003-multiplier=100"
    assert run.benchmark.recipe.lr == 0.003 and run.options == {"multiplier": 100}


def test_a_benchmark_that_is_tuned_in_what_nothing_has():
    made = replace(find_benchmark("rooms_segnet")(), tuned={"hps": {"multiplier": 5}})
    with pytest.raises(ValueError, match="rooms_segnet, tuned for hps, sets multiplier, known are"):
        Run(made, "hps")
