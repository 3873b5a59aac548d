"""Give a module another class that puts a mixin in front of its own."""

from __future__ import annotations

from functools import cache

from torch import nn

__all__ = ["mix_in", "mixed_class"]


def mix_in(module: nn.Module, mixin: type) -> None:
    """Put `mixin` in front of the module's own class, in place; copies and pickles keep it.

    Example:
        >>> class Loud:
        ...     pass
        >>> layer = nn.ReLU()
        >>> mix_in(layer, Loud)
        >>> isinstance(layer, Loud), isinstance(layer, nn.ReLU)
        (True, True)
    """
    module.__class__ = mixed_class(mixin, type(module))


@cache
def mixed_class(mixin: type, host: type) -> type:
    """Find the class `host` with `mixin` in front in `mixin.named`, or make a new one."""
    if known := getattr(mixin, "named", {}).get(host):
        return known
    name = mixin.__name__.removesuffix("Norm") + host.__name__
    body = {"__doc__": mixin.__doc__, "__module__": mixin.__module__, "__reduce_ex__": _reduce}
    return type(name, (mixin, host), body)


def _reduce(module: nn.Module, protocol: int) -> tuple:
    """Copy and pickle a module of a class made at run time by the names of its two parents."""
    return _blank, type(module).__bases__, module.__dict__


def _blank(mixin: type, host: type) -> nn.Module:
    cls = mixed_class(mixin, host)
    return cls.__new__(cls)
