"""Where the weights of a pretrained trunk come from."""

from collections.abc import Mapping

__all__ = ["check_source"]


def check_source(source: str, known: Mapping[str, str]) -> None:
    """Refuse a source of weights that there is not.

    Args:
        source: the value of a benchmark's `pretrained`.
        known: what each source is, by name.

    Raises:
        ValueError: names those that there are.

    Example:
        >>> check_source("hub", {"file": "a file", "none": "a start at random"})
        Traceback (most recent call last):
        ValueError: pretrained='hub' must be one of 'file' for a file; 'none' for a start at random
    """
    if source not in known:
        names = "; ".join(f"{name!r} for {what}" for name, what in known.items())
        raise ValueError(f"pretrained={source!r} must be one of {names}")
