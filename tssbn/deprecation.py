"""Former names: they work for one more version, and say what they are called now."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["former_method", "former_names"]


def former_names(module: str, **names: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module under which its former names still work, with a warning.

    Args:
        module: The ``__name__`` of the module.
        names: The present name by the former one.

    Example:
        >>> import warnings
        >>> from tssbn import gates
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     gates.shuffled is gates.permuted
        True
        >>> print(caught[0].message)
        tssbn.gates.shuffled is called tssbn.gates.permuted now; the former name goes in version 0.3
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", f"{module}.{names[name]}")
        return getattr(sys.modules[module], names[name])

    return __getattr__


def former_method(former: str, present: str) -> Callable[..., Any]:
    """Make the method of a class that a present one was called before; it warns when called.

    Example:
        >>> class Network:
        ...     def passes(self): return ["all"]
        ...     chunks = former_method("chunks", "passes")
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     Network().chunks()
        ['all']
    """

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        _warn(f"{type(self).__name__}.{former}", f"{type(self).__name__}.{present}")
        return getattr(self, present)(*args, **kwargs)

    return method


def _warn(former: str, present: str) -> None:
    warnings.warn(
        f"{former} is called {present} now; the former name goes in version 0.3",
        DeprecationWarning,
        stacklevel=3,  # where the name is used
    )
