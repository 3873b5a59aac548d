"""Checks that saved runs can be compared in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from tssbn.benchmarks import Recipe

__all__ = ["balance_of", "check_comparable", "protocol"]

DEFAULTS = {field.name: field.default for field in fields(Recipe) if field.default is not MISSING}


def balance_of(record: Mapping[str, Any]) -> str:
    """Return the name of the run's balancing, ``"sum"`` by default.

    Args:
        record: a saved run.

    Example:
        >>> balance_of({"balance": "pcgrad"}), balance_of({})
        ('pcgrad', 'sum')
    """
    return record.get("balance", "sum")


def protocol(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of the recipe that the method's protocol changed; {} for older runs.

    Args:
        record: a saved run.

    Example:
        >>> protocol({"protocol": {"batch": 4}}), protocol({})
        ({'batch': 4}, {})
    """
    return record.get("protocol", {})


def check_comparable(benchmark: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Raise an error for saved runs that cannot be compared.

    They must agree in settings, recipe, metrics, initial weights of the trunk, and the content of
    the data. Method, balancing, seed and machine may differ, and in the recipe ``tasks_per_pass``,
    which changes no result, and the fields that a method's protocol changes. Synthetic data must
    agree in size and labels; the rest may differ in bits. Options of a method, such as
    ``multiplier``, and of a balancing must agree within its row.

    Args:
        benchmark: name of the benchmark that all runs must have.
        records: saved runs.

    Raises:
        ValueError: the runs cannot be compared; the message names the run and the difference.

    Example:
        >>> check_comparable("rooms", [])
    """
    seen: set[tuple] = set()
    options: dict[tuple, Mapping] = {}
    for record in records:
        name = _name(record)
        if record["benchmark"] != benchmark:
            raise ValueError(f"{name} is a run of {record['benchmark']}, not of {benchmark}")
        if not record["finished"]:
            raise ValueError(f"{name} is not finished")
        row = record["method"], balance_of(record)
        if (row, record["seed"]) in seen:
            raise ValueError(f"there are two runs of {name}")
        seen.add((row, record["seed"]))
        own = {**record["options"], **record.get("balance_options", {})}
        if options.setdefault(row, own) != own:
            raise ValueError(
                f"{name} cannot stand in a row with others of {record['method']}: its options are "
                f"{own}, theirs {dict(options[row])}"
            )
    for field in ("settings", "recipe", "data", "metric", "directions", "labels", "pretrained"):
        _check_same(field, records)


def _check_same(field: str, records: Sequence[Mapping]) -> None:
    """Compare each run's entries of a field with the first run that has them."""
    compared = [(_name(record), _compared(record, field)) for record in records]
    first: dict[str, tuple[Any, str]] = {}
    for part in dict.fromkeys(part for _, parts in compared for part in parts):
        for record, (name, parts) in zip(records, compared, strict=True):
            if field == "recipe" and part in protocol(record):
                continue
            if field == "labels" and part not in parts:  # older runs have no such entry
                continue
            value, other = first.setdefault(part, (parts.get(part), name))
            if parts.get(part) != value:
                what = f"the sha256 of the labels of {part}"
                what = what if field == "labels" else f"{part!r} of {field}"
                raise ValueError(
                    f"{name} cannot stand beside {other}: {what} is {parts.get(part)} and {value}"
                )


def _name(record: Mapping) -> str:
    return f"{record['benchmark']}/{record['method']}-{record['seed']}"


def _compared(record: Mapping, field: str) -> Mapping:
    if field == "labels":
        splits = record["data"]["splits"]
        return {split: part["labels"] for split, part in splits.items() if "labels" in part}
    if field == "pretrained":  # older runs have no entry: there were none
        return {"sha256": record.get("pretrained", "none")}
    value = record[field]
    if field == "settings":  # those of the benchmark; methods and balancings have options too
        return {
            key: entry
            for key, entry in value.items()
            if key not in record["options"] and key.partition(".")[0] != "balance"
        }
    if field == "recipe":  # fields that are newer than the run have their defaults
        said = {**DEFAULTS, **value}
        return {
            key: entry for key, entry in said.items() if key != "tasks_per_pass" and entry != {}
        }
    if field == "data":
        # Synthetic data may differ in their last bits between machines.
        same = "samples" if value["kind"] == "synthetic" else "sha256"
        return {split: part[same] for split, part in value["splits"].items()}
    return value
