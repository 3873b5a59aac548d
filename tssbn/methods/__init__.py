"""The multi-task methods, one file each; :func:`methods` finds them all.

A file of this folder that defines ``METHODS`` is found; nothing else has to know of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules

from torch import Tensor, nn

__all__ = ["Method", "Network", "methods", "one_group"]


@dataclass(frozen=True)
class Network:
    """What a benchmark gives to the methods: how to make a trunk, and a head for a task.

    Attributes:
        trunk: makes a fresh trunk; from images (B, 3, H, W) to the features that the heads read.
        head: makes a head that gives so many channels.
        example: two images, of any size that the network takes.
        stem: the module of the trunk before which everything runs once for all tasks, as in
            :class:`tssbn.MultiTask`; "" for none.
    """

    trunk: Callable[[], nn.Module]
    head: Callable[[int], nn.Module]
    example: Tensor = field(repr=False)
    stem: str = ""


def one_group(net: nn.Module, lr: float) -> list[dict]:
    """Every parameter at the same rate."""
    return [{"params": list(net.parameters()), "lr": lr}]


@dataclass(frozen=True)
class Method:
    """A multi-task method: what it makes of a network, and at what rates that learns.

    Attributes:
        title: as in tables.
        build: ``build(network, outputs, **options)``, where ``outputs`` has the number of channels
            of each task's prediction, by task. Gives a :class:`tssbn.MultiTaskNetwork`.
        groups: ``groups(net, lr, **options)``, the parameter groups for an optimiser.
        about: a sentence for ``python -m tssbn methods``; by default the first one of the module.
    """

    title: str
    build: Callable[..., nn.Module]
    groups: Callable[..., list[dict]] = one_group
    about: str = ""


def methods() -> dict[str, Method]:
    """All methods, by name.

    Raises:
        ValueError: two files give methods of one name.

    Example:
        >>> methods()["hps"].title
        'HPS'
    """
    found: dict[str, Method] = {}
    for module in iter_modules(__path__):
        given = getattr(import_module(f"{__name__}.{module.name}"), "METHODS", {})
        if twice := found.keys() & given:
            raise ValueError(f"{module.name}.py has methods that another file has: {twice}")
        found |= given
    return found


def heads(network: Network, outputs: Mapping[str, int]) -> nn.ModuleDict:
    """A fresh head for each task."""
    return nn.ModuleDict({task: network.head(channels) for task, channels in outputs.items()})
