"""A training run: which method on which benchmark, from which seed, with which settings."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from tssbn.benchmarks import Benchmark, Recipe, benchmarks
from tssbn.benchmarks.catalogue import source
from tssbn.methods import Method, methods
from tssbn.training.balancing import find_balancing

__all__ = ["Run", "options_of", "plan"]


WEIGHT = "weight."  # and the name of a task: a setting
BALANCE = "balance"  # a setting, as are this, a dot and an option of the balancing


@dataclass(frozen=True)
class Run:
    """What is trained; :func:`~tssbn.training.loop.train` trains it.

    Attributes:
        benchmark: data, network, tasks and recipe.
        method: its name, one of :func:`tssbn.methods.methods`.
        seed: of the start values, the order of the images and their augmentation.
        options: of the method's ``build`` and ``groups``, such as ``multiplier``.
        settings: whatever differs from the benchmark and the method as they are written; part of
            the name.
        balance: how the losses become gradients: a name in
            :data:`tssbn.training.balancing.BALANCINGS`.
        balance_options: of the balancing, such as ``lr``.
    """

    benchmark: Benchmark
    method: str
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    balance: str = "sum"
    balance_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``<benchmark>/<method>-<seed>``, and the settings in alphabetical order.

        Example:
            >>> plan("rooms", "tssbn", 1, {"multiplier": 10, "epochs": 5}).name
            'rooms/tssbn-1-epochs=5-multiplier=10'
        """
        parts = [self.method, str(self.seed)]
        parts += [f"{key}={value}" for key, value in sorted(self.settings.items())]
        return f"{self.benchmark.name}/{'-'.join(parts)}"


def plan(
    benchmark: str,
    method: str,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    root: str | Path | None = None,
) -> Run:
    """The run of a method on a benchmark, both by name.

    Args:
        benchmark: one of :func:`tssbn.benchmarks.benchmarks`.
        method: one of :func:`tssbn.methods.methods`.
        seed: 0 or more.
        settings: what is to differ: fields of the recipe (:class:`tssbn.benchmarks.Recipe`),
            arguments of the benchmark, such as ``n`` of the made ones, and of the method, such as
            ``multiplier``; ``weight.<task>``, what the loss of a task is multiplied with,
            instead of the benchmark's own weight; and ``balance``, the name of a balancing, with
            its options, such as ``balance.lr``. What is so anyway is left out.
        root: the folder of a real data set.

    Raises:
        ImportError: the balancing needs a package that is not installed.
        ValueError: an unknown name, a setting that nothing knows or that has another type, a root
            for a made benchmark, or none for a real one.

    Example:
        >>> plan("rooms", "hps", settings={"epochs": 5}).benchmark.recipe.epochs
        5
    """
    make = _known("benchmark", benchmark, benchmarks())
    chosen: Method = _known("method", method, methods())
    if seed < 0:
        raise ValueError(f"seed={seed} must be 0 or more")
    settings = dict(settings or {})
    arguments = options_of(make)
    real = "root" in signature(make).parameters
    if real and root is None:
        raise ValueError(
            f"{benchmark} needs the folder of its data; `python -m tssbn data where "
            f"{source(benchmark)}` says where to get it"
        )
    if not real and root is not None:
        raise ValueError(f"{benchmark} is made, not read: it takes no data folder, got {root}")

    options = options_of(chosen.build, chosen.groups)
    balance = settings.pop(BALANCE, "sum")
    of_balance = {f"{BALANCE}.{k}": v for k, v in options_of(find_balancing(balance)).items()}
    of_recipe = [field.name for field in fields(Recipe) if field.name != "weights"]
    weights = {}
    for key, value in list(settings.items()):
        if key.startswith(WEIGHT):
            _check(key, value, 1.0)
            weights[key.removeprefix(WEIGHT)] = value
        elif key in arguments or key in options or key in of_balance:
            default = (arguments | options | of_balance)[key]
            _check(key, value, default)
            if value == default:
                del settings[key]  # nothing differs
        elif key not in of_recipe:
            raise ValueError(
                f"setting {key!r} is unknown; known are {', '.join(of_recipe)} of the recipe, "
                f"{', '.join(arguments) or 'none'} of {benchmark}, "
                f"{', '.join(options) or 'none'} of {method}, "
                f"{', '.join(of_balance) or 'none'} of {BALANCE}={balance}, and {WEIGHT}<task>"
            )

    def among(names: Iterable[str]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if key in names}

    made = make(root, **among(arguments)) if real else make(**among(arguments))
    if made.name != benchmark:
        raise ValueError(f"the benchmark of {benchmark}.py is named {made.name!r}: rename it")
    for key, value in among(of_recipe).items():
        default = getattr(made.recipe, key)
        _check(key, value, default)
        if value == default:
            del settings[key]
    own = made.recipe.weights
    same = [task for task, weight in weights.items() if weight == own.get(task, 1)]
    for task in same:
        del weights[task], settings[f"{WEIGHT}{task}"]
    if same:  # the trainer, which knows the tasks, checks those that it gets
        made = replace(made, tasks=partial(_tasks, made.tasks, same))
    recipe = replace(made.recipe, weights={**own, **weights}, **among(of_recipe))
    made = replace(made, recipe=recipe)
    balance_options = {k.removeprefix(f"{BALANCE}."): v for k, v in among(of_balance).items()}
    if balance != "sum":
        settings[BALANCE] = balance
    return Run(made, method, seed, among(options), settings, balance, balance_options)


def _tasks(make: Callable, weighted: Iterable[str], targets: Mapping[str, Any]) -> dict[str, Any]:
    """The tasks of a benchmark, where those that were given a weight are among them."""
    tasks = make(targets)
    if unknown := set(weighted) - tasks.keys():
        raise ValueError(f"weights are given of {sorted(unknown)}, the tasks are {list(tasks)}")
    return tasks


def _known(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"{kind} {name!r} is unknown, use one of {', '.join(sorted(table))}")
    return table[name]


def options_of(*functions: Callable) -> dict[str, Any]:
    """Parameters with a default: those that a setting may change, and the default.

    Example:
        >>> options_of(benchmarks()["rooms"])["n"]
        800
    """
    parameters = [p for f in functions for p in signature(f).parameters.values()]
    return {p.name: p.default for p in parameters if p.default is not Parameter.empty}


def _check(key: str, value: Any, default: Any) -> None:
    """Refuse a setting of another type than the default's; None may become a number."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {bool: isinstance(value, bool), float: number, str: isinstance(value, str)}.get(
        type(default), isinstance(value, int) and number
    )
    if not fits and not (default is None and value is None):
        wanted = "int" if default is None else type(default).__name__
        raise ValueError(f"setting {key}={value!r} must be of type {wanted}, as {default!r} is")
