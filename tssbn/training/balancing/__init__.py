"""Balancings, which turn the tasks' losses into the gradients of a step.

:data:`BALANCINGS` lists modules that define a function ``balancing(net, **options)``. Each is
imported when it is asked for by name, so that a missing package affects only the balancings that
need it.
"""

from collections.abc import Callable
from pathlib import Path

from tssbn.registry import find
from tssbn.training.balancing.aggregated import Aggregated
from tssbn.training.balancing.angles import Angles
from tssbn.training.balancing.base import Balancing
from tssbn.training.balancing.observer import Observer
from tssbn.training.balancing.penalised import Penalised
from tssbn.training.balancing.rows import Rows
from tssbn.training.balancing.scalarised import Scalarised
from tssbn.training.balancing.second_order import SecondOrder

__all__ = [
    "BALANCINGS",
    "Aggregated",
    "Angles",
    "Balancing",
    "Observer",
    "Penalised",
    "Rows",
    "Scalarised",
    "SecondOrder",
    "find_balancing",
]

#: The module of each balancing by name, those of the losses before those of the gradients.
BALANCINGS = {
    "sum": "tssbn.training.balancing.base",
    "si": "tssbn.training.balancing.si",
    "rlw": "tssbn.training.balancing.rlw",
    "dwa": "tssbn.training.balancing.dwa",
    "uw": "tssbn.training.balancing.uw",
    "imtl-l": "tssbn.training.balancing.imtl_l",
    "gls": "tssbn.training.balancing.gls",
    "famo": "tssbn.training.balancing.famo",
    "stch": "tssbn.training.balancing.stch",
    "gradnorm": "tssbn.training.balancing.gradnorm",
    "cosreg": "tssbn.training.balancing.cosreg",
    "mgda": "tssbn.training.balancing.mgda",
    "pcgrad": "tssbn.training.balancing.pcgrad",
    "graddrop": "tssbn.training.balancing.graddrop",
    "gradvac": "tssbn.training.balancing.gradvac",
    "cagrad": "tssbn.training.balancing.cagrad",
    "imtl-g": "tssbn.training.balancing.imtl_g",
    "imtl": "tssbn.training.balancing.imtl",
    "nash-mtl": "tssbn.training.balancing.nash_mtl",
    "fairgrad": "tssbn.training.balancing.fairgrad",
    "aligned-mtl": "tssbn.training.balancing.aligned_mtl",
    "upgrad": "tssbn.training.balancing.upgrad",
    "db-mtl": "tssbn.training.balancing.db_mtl",
}


def find_balancing(name: str | Path) -> Callable[..., Balancing]:
    """Import a balancing and return its function ``balancing(net, **options)``.

    Args:
        name: one of :data:`BALANCINGS`, or the path of a file that ends in ``.py`` and defines
            ``balancing``.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the balancing needs a package that is not installed; the message names it.
        ValueError: the name is unknown.

    Example:
        >>> find_balancing("sum")(net=None)
        Balancing()
    """
    return find("balance", name, BALANCINGS, "balancing", "balance")
