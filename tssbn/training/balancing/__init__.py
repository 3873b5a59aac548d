"""How the losses of a step become gradients: balancings, by name.

A module that defines a function ``balancing(net, **options)`` is known by its line in
:data:`BALANCINGS`; it is imported when its name is asked for, so that a package that is not
installed takes away no other.
"""

from collections.abc import Callable
from pathlib import Path

from tssbn.registry import find
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.base import Balancing
from tssbn.training.balancing.observer import Observer
from tssbn.training.balancing.scalarised import Scalarised
from tssbn.training.balancing.second_order import SecondOrder

__all__ = [
    "BALANCINGS",
    "Aggregated",
    "Balancing",
    "Observer",
    "Scalarised",
    "SecondOrder",
    "find_balancing",
]

#: The module of each balancing, by name.
BALANCINGS = {
    "sum": "tssbn.training.balancing.base",
    "uw": "tssbn.training.balancing.uw",
    "pcgrad": "tssbn.training.balancing.pcgrad",
    "cosreg": "tssbn.training.balancing.cosreg",
}


def find_balancing(name: str | Path) -> Callable[..., Balancing]:
    """The function ``balancing(net, **options)`` of a balancing.

    Args:
        name: one of :data:`BALANCINGS`, or the path of a file that ends in ``.py`` and defines
            ``balancing``.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: it needs a package that is not installed; names it.
        ValueError: an unknown name.

    Example:
        >>> find_balancing("sum")(net=None)
        Balancing()
    """
    return find("balance", name, BALANCINGS, "balancing", "balance")
