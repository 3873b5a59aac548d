"""The settings of a run: which there are, and what value one may have."""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

from tssbn.registry import meant

__all__ = ["BALANCE", "WEIGHT", "changes", "check_known", "checked", "options_of"]

WEIGHT = "weight."  # and the name of a task: a setting
BALANCE = "balance"  # a setting, as are this, a dot and an option of the balancing


def options_of(*functions: Callable) -> dict[str, Any]:
    """Give the parameters that a setting may change, those with a default, and the default.

    Example:
        >>> from tssbn.benchmarks import find_benchmark
        >>> options_of(find_benchmark("rooms"))["n"]
        1600
    """
    parameters = [p for f in functions for p in signature(f).parameters.values()]
    return {p.name: p.default for p in parameters if p.default is not Parameter.empty}


def check_known(settings: Mapping[str, Any], places: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a setting that nothing knows, or that two things know.

    Args:
        settings: By name; the balancing and weights of tasks always pass.
        places: The defaults by name, of each that knows some.

    Raises:
        ValueError: Names the setting, and those that there are.

    Example:
        >>> check_known({"epoch": 1}, {"the recipe": {"epochs": 8, "lr": 0.1}, "hps": {}})
        Traceback (most recent call last):
        ValueError: setting 'epoch' is unknown (did you mean 'epochs'?); known are epochs, ...
    """
    for key in settings:
        if key == BALANCE or str(key).startswith(WEIGHT):
            continue
        owners = [place for place, defaults in places.items() if key in defaults]
        if len(owners) > 1:
            raise ValueError(f"setting {key!r} means two things: rename that of {owners[0]}")
        if not owners:
            close = meant(key, [name for names in places.values() for name in names])
            names = [f"{', '.join(names)} of {place}" for place, names in places.items() if names]
            raise ValueError(
                f"setting {key!r} is unknown{close}; known are {', '.join(names)}, {BALANCE}, and "
                f"{WEIGHT}<task>"
            )


def changes(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings among some defaults that differ from them, checked.

    Example:
        >>> changes({"n": 8.0, "width": 64, "lr": 0.1}, {"n": 800, "width": 64})
        {'n': 8}
    """
    ours = {key: checked(key, settings[key], defaults[key]) for key in defaults if key in settings}
    return {key: value for key, value in ours.items() if value != defaults[key]}


def checked(key: str, value: Any, default: Any) -> Any:
    """Give the value of a setting in the form that a run is named by.

    What is no whole number where the default is one, and what has another type than the default, is
    refused; where the default is None, it may be any number. A whole number has no decimals, except
    as a weight: so 10 and 10.0 name one run.

    Raises:
        ValueError: Names the setting, the value and the type.

    Example:
        >>> checked("multiplier", 10.0, 100.0), checked("weight.depth", 2, 1.0)
        (10, 2.0)
        >>> checked("n", 0.5, 800)
        Traceback (most recent call last):
        ValueError: setting n=0.5 must be of type int, as 800 is
    """
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)  # TOML and JSON know lists alone
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = number and float(value).is_integer()
    fits = {
        bool: isinstance(value, bool),
        int: whole,
        float: number,
        type(None): number or value is None,
    }.get(type(default), isinstance(value, type(default)))
    if not fits:
        wanted = "int or float" if default is None else type(default).__name__
        raise ValueError(f"setting {key}={value!r} must be of type {wanted}, as {default!r} is")
    if isinstance(value, str) and {"/", "\\"} & set(value):
        raise ValueError(f"setting {key}={value!r} cannot be part of the name of a file")
    if not number:
        return value
    if key.startswith(WEIGHT):
        return float(value)
    return int(value) if whole else value
