"""The caption of a table, which describes its data, settings and devices."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tssbn.methods import find_method
from tssbn.records.comparable import balance_of, protocol

__all__ = ["caption"]


def caption(
    records: Sequence[Mapping[str, Any]], best: bool = False, baseline: str | None = "stl"
) -> str:
    """Describe the numbers of a table by data, settings, epochs, devices and notes of the runs.

    Args:
        records: saved runs that are comparable, see
            :func:`tssbn.records.comparable.check_comparable`.
        best: whether the numbers are those of the best epoch on the test images.
        baseline: the method relative to which Δm is computed; None where there is none.

    Example:
        >>> caption([])
        'no saved runs with these settings'
    """
    if not records:
        return "no saved runs with these settings"
    first = records[0]
    epochs = first["recipe"]["epochs"]
    counted = {
        "last": f"the last of {epochs} epochs" if epochs > 1 else "the only epoch",
        "last-10": f"the mean of the last 10 of {epochs} epochs",
        "val": f"the epoch of {epochs} that is best on the validation data",
        "libmtl": f"the epoch of {epochs} that gains most on the test data (LibMTL's choice)",
    }[first["recipe"]["report"]]
    if best:
        counted = f"the epoch of {epochs} that is best on the test data"
    where = " and ".join(sorted({f"{_precision(r)} on {r['device']}" for r in records}))
    notes = sorted({record.get("note", "") for record in records} - {""})
    runs = Counter((record["method"], balance_of(record)) for record in records)
    said = [
        f"{first['data']['kind']} data ({_images(first['data']['splits'])})",
        _bits(records),
        *notes,
        *_settings(records),
        *_own(records),
        counted,
        "± is the standard deviation over seeds" if max(runs.values()) > 1 else "",
        f"Δm against the mean of our {find_method(baseline).title}" if baseline else "",
        where,
    ]
    return "; ".join(filter(None, said))


def _images(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """Describe how many images each split has, and of how many official ones."""
    official = {part["official"] for part in splits.values() if part["official"]}
    if len(splits) > 1 and len(official) == 1:  # parts of one official split
        counts = ", ".join(f"{part['samples']:,} {split}" for split, part in splits.items())
        return f"{counts}, all of the {official.pop():,} of one official split"
    return ", ".join(
        f"{part['samples']:,} "
        + (f"of {part['official']:,} " if part["official"] not in (None, part["samples"]) else "")
        + split
        for split, part in splits.items()
    )


def _precision(record: Mapping[str, Any]) -> str:
    return {"32": "float32", "64": "float64"}.get(record["precision"], record["precision"])


def _settings(records: Sequence[Mapping]) -> Iterator[str]:
    """Describe the settings of the runs, with the methods where not all runs have one."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for key, value in record["settings"].items():
            if key != "balance":  # which stands in the rows
                pairs.setdefault((key, str(value)), []).append(record["method"])
    common = {key: value for (key, value), of in pairs.items() if len(of) == len(records)}
    yield _pairs(common)
    for (key, value), of in pairs.items():
        if len(of) < len(records):
            yield f"{', '.join(dict.fromkeys(of))} with {key}={value}"


def _pairs(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _own(records: Sequence[Mapping]) -> list[str]:
    """Describe recipe fields and options that a method's protocol or tuning set, by method."""
    used = {
        record["method"]: {
            **protocol(record),
            **{k: v for k, v in record["options"].items() if k not in record["settings"]},
        }
        for record in records
    }
    return [f"{method} with {_pairs(fields)}" for method, fields in used.items() if fields]


def _bits(records: Sequence[Mapping]) -> str:
    """Describe synthetic data that differ in bits between runs; "" where they are equal."""
    splits = [record["data"]["splits"] for record in records]
    bits = [{name: part["sha256"] for name, part in parts.items()} for parts in splits]
    if all(those == bits[0] for those in bits):
        return ""
    known = all("labels" in part for parts in splits for part in parts.values())
    said = "the labels agree" if known else "older runs have no hash of their labels"
    return f"the data of the runs differ in bits ({said})"
