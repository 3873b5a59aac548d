"""A training run: which method on which benchmark, from which seed, with which settings."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from tssbn.benchmarks import Benchmark, Recipe, find_benchmark
from tssbn.methods import Method, find_method
from tssbn.registry import short_name
from tssbn.training.balancing import find_balancing
from tssbn.training.settings import BALANCE, WEIGHT, changes, check_known, options_of

__all__ = ["Run"]

RECIPE = tuple(field.name for field in fields(Recipe) if field.name != "weights")


@dataclass(frozen=True, init=False)
class Run:
    """What is trained; :func:`~tssbn.training.loop.train` trains it.

    A run is a benchmark, a method, a seed and settings, and has a name; two of one name are equal.
    All settings are checked, those that change nothing are left out, and the others are part of the
    name. No data are needed for it.

    Args:
        benchmark: A name in :data:`tssbn.benchmarks.BENCHMARKS`, the path of a file that ends in
            ``.py``, or the benchmark itself.
        method: A name in :data:`tssbn.methods.METHODS`, such a path, or the method itself, whose
            name is then made of its title.
        seed: Of the start values, the order of the images and their augmentation; 0 or more.
        settings: What is to differ: fields of the recipe (:class:`tssbn.benchmarks.Recipe`);
            arguments of the benchmark's function, such as ``n`` of the synthetic ones; options of
            the method, such as ``multiplier``; ``weight.<task>``, what the loss of a task is
            multiplied with, instead of the benchmark's own weight; and ``balance``, a name in
            :data:`tssbn.training.balancing.BALANCINGS` or the path of a file, with its options,
            such as ``balance.lr``.

    Attributes:
        name: ``<benchmark>/<method>-<seed>``, and the settings in alphabetical order.
        benchmark: With the settings.
        method: The method.
        seed: See above.
        settings: Those that change something.
        arguments: Those of the benchmark's function.
        options: Those of the method that differ from its defaults.
        protocol: Fields of the recipe that differ for this method alone, by its own protocol or
            because the benchmark is tuned for it.
        balance: Name or path of the balancing.
        balance_options: Those of the balancing.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: Something needs a package that is not installed.
        ValueError: An unknown name, a negative seed, a setting that nothing knows or that has
            another type; says what would be right.

    Example:
        >>> run = Run("rooms", "tssbn", 1, {"multiplier": 10.0, "epochs": 5, "batch": 16})
        >>> run.name, run.benchmark.recipe.epochs, run.options
        ('rooms/tssbn-1-epochs=5-multiplier=10', 5, {'multiplier': 10})
        >>> Run("rooms", "tssbn", settings={"multiplyer": 10})
        Traceback (most recent call last):
        ValueError: setting 'multiplyer' is unknown (did you mean 'multiplier'?); known are ...
    """

    name: str
    benchmark: Benchmark = field(compare=False, repr=False)
    method: Method = field(compare=False, repr=False)
    seed: int = field(compare=False, repr=False)
    settings: Mapping[str, Any] = field(compare=False, repr=False)
    arguments: Mapping[str, Any] = field(compare=False, repr=False)
    options: Mapping[str, Any] = field(compare=False, repr=False)
    protocol: Mapping[str, Any] = field(compare=False, repr=False)
    balance: str = field(compare=False, repr=False)
    balance_options: Mapping[str, Any] = field(compare=False, repr=False)

    def __init__(
        self,
        benchmark: str | Path | Benchmark,
        method: str | Path | Method,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        given = dict(settings or {})
        method = _named(method) if isinstance(method, Method) else find_method(method)
        name, make = _maker(benchmark)
        balance = given.get(BALANCE, "sum")
        of_make, of_method = options_of(make), options_of(*method.functions)
        of_balance = {
            f"{BALANCE}.{key}": default
            for key, default in options_of(find_balancing(balance)).items()
        }
        check_known(
            given,
            {
                "the recipe": RECIPE,
                f"benchmark {name}": of_make,
                f"method {method.name}": of_method,
                f"{BALANCE}={balance}": of_balance,
            },
        )
        arguments, of_balance = changes(given, of_make), changes(given, of_balance)
        made = make(**arguments)
        if made.name != name:
            raise ValueError(f"the benchmark of {benchmark} is named {made.name!r}, not {name!r}")
        protocol, tuned = _own(made, method, of_method)
        options = changes(given, {**of_method, **tuned})
        made, of_recipe = _with_recipe(made, protocol, given)
        changed = {**arguments, **options, **of_balance, **of_recipe}
        if balance != "sum":
            changed[BALANCE] = short_name(balance)
        changed = {key: changed[key] for key in given if key in changed}
        vars(self).update(
            benchmark=made,
            method=method,
            seed=seed,
            settings=changed,
            arguments=arguments,
            options={**tuned, **options},
            protocol=protocol,
            balance=balance,
            balance_options={
                key.removeprefix(f"{BALANCE}."): value for key, value in of_balance.items()
            },
        )
        vars(self).update(name=self.name_of(seed))

    def name_of(self, seed: int) -> str:
        """Give the name that the same run has with another seed.

        Raises:
            ValueError: the seed is negative.

        Example:
            >>> Run("rooms", "hps", 1, {"epochs": 5}).name_of(2)
            'rooms/hps-2-epochs=5'
        """
        if seed < 0:
            raise ValueError(f"seed={seed} must be 0 or more")
        parts = [f"{key}={value}" for key, value in sorted(self.settings.items())]
        return f"{self.benchmark.name}/{'-'.join([self.method.name, str(seed), *parts])}"

    def options_for(self, function: Callable) -> dict[str, Any]:
        """Give those options that a function of the method takes.

        Example:
            >>> run = Run("rooms", "tssbn", settings={"multiplier": 10})
            >>> run.options_for(run.method.groups), run.options_for(run.method.build)
            ({'multiplier': 10}, {})
        """
        taken = signature(function).parameters
        return {key: value for key, value in self.options.items() if key in taken}


def _named(method: Method) -> Method:
    """The method, with a name that a file can have."""
    name = method.name or re.sub("[^a-z0-9]+", "-", method.title.lower()).strip("-")
    if not name:
        raise ValueError(f"no name can be made of title={method.title!r}: give the method a name")
    return replace(method, name=name)


def _maker(benchmark: str | Path | Benchmark) -> tuple[str, Callable[..., Benchmark]]:
    """The name of a benchmark, and the function that makes it."""
    if isinstance(benchmark, Benchmark):
        return benchmark.name, lambda: benchmark
    make = find_benchmark(benchmark)
    if needed := [p.name for p in signature(make).parameters.values() if p.default is p.empty]:
        raise ValueError(
            f"benchmark() of {benchmark} must have defaults for {', '.join(needed)}; the folder of "
            "the data is an argument of Benchmark.data"
        )
    return short_name(benchmark), make


def _own(
    benchmark: Benchmark, method: Method, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is the method's own on a benchmark: fields of the recipe, and options."""
    tuned = benchmark.tuned.get(method.name, {})
    places = {
        method.name: (method.settings, RECIPE),
        f"{benchmark.name}, tuned for {method.name},": (tuned, (*RECIPE, *options)),
    }
    for place, (given, known) in places.items():
        if unknown := given.keys() - set(known):
            raise ValueError(
                f"{place} sets {', '.join(sorted(unknown))}, known are {', '.join(known)}"
            )
    of_method = {
        key: float(value) if isinstance(options[key], float) else value  # others have decimals
        for key, value in tuned.items()
        if key in options
    }
    return {**method.settings, **{k: tuned[k] for k in tuned if k not in options}}, of_method


def _with_recipe(
    benchmark: Benchmark, protocol: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[Benchmark, dict[str, Any]]:
    """The benchmark by the method's protocol and the settings; and the settings that count."""
    recipe = replace(benchmark.recipe, **protocol)
    of_recipe = changes(given, {key: getattr(recipe, key) for key in RECIPE})
    named = [key.removeprefix(WEIGHT) for key in given if key.startswith(WEIGHT)]
    own = {f"{WEIGHT}{task}": float(recipe.weights.get(task, 1.0)) for task in named}
    weights = changes(given, own)
    merged = {**recipe.weights, **{k.removeprefix(WEIGHT): v for k, v in weights.items()}}
    tasks = benchmark.tasks
    if same := {key.removeprefix(WEIGHT) for key in own.keys() - weights.keys()}:
        tasks = partial(_tasks, tasks, same)  # the trainer checks those that are in the recipe
    recipe = replace(recipe, weights=merged, **of_recipe)
    return replace(benchmark, recipe=recipe, tasks=tasks), {**of_recipe, **weights}


def _tasks(make: Callable, weighted: Iterable[str], targets: Mapping[str, Any]) -> dict[str, Any]:
    """The tasks of a benchmark, where those that were given a weight are among them."""
    tasks = make(targets)
    if unknown := set(weighted) - tasks.keys():
        raise ValueError(f"weights are given of {sorted(unknown)}, the tasks are {list(tasks)}")
    return tasks
