"""Find what a name stands for: a part of the package, or the user's own file."""

import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from tssbn._install import install

__all__ = ["find", "meant", "short_name"]


def short_name(name: str | Path) -> str:
    """The name of what :func:`find` finds: of a file without its folder and ending.

    Example:
        >>> short_name("tssbn"), short_name("studies/my_method.py")
        ('tssbn', 'my_method')
    """
    return Path(name).stem if _is_file(name) else str(name)


def meant(name: Any, known: Iterable[str]) -> str:
    """The end of an error's sentence: the known name that an unknown one is close to, if any.

    Example:
        >>> meant("epoch", ["lr", "epochs"]), meant("colour", ["lr", "epochs"])
        (" (did you mean 'epochs'?)", '')
        >>> meant("TSσBN", ["tsbn", "tssbn"])
        " (did you mean 'tssbn'?)"
    """
    plain = {_plain(each): each for each in known}
    close = get_close_matches(_plain(name), plain, 1, cutoff=0.65)
    return f" (did you mean {plain[close[0]]!r}?)" if close else ""


def _plain(name: Any) -> str:
    """A name as a command has it: TSσBN is `tssbn`, TSBN ×100 is nearly `tsbn-x100`."""
    return str(name).lower().replace("σ", "s").replace("×", "x")


def find(kind: str, name: str | Path, places: Mapping[str, str], attribute: str, extra: str) -> Any:
    """Import what a name stands for, and nothing else.

    Args:
        kind: What it is called in errors, such as ``"method"``.
        name: A key of `places`, or the path of a file of the user's own, which ends in ``.py`` and
            may import its neighbours, as a script may.
        places: ``"module"`` or ``"module:attribute"``, by name.
        attribute: What a file defines, and a module whose place names none.
        extra: What to install where a package is missing, such as ``"train"``.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: It needs a package that is not installed; names the package and the extra.
        ValueError: An unknown name, or a file without the attribute.

    Example:
        >>> find("number", "pi", {"pi": "math:pi"}, "number", "train")
        3.141592653589793
    """
    if _is_file(name):
        return _of_file(kind, Path(name), attribute)
    if name not in list(places):  # whatever the type of the name
        known = ", ".join(places)
        raise ValueError(
            f"{kind}={name!r} is unknown{meant(name, places)}, use one of {known}, or the path of "
            f"a file that ends in .py and defines {attribute!r}"
        )
    module, _, named = places[name].partition(":")
    try:
        return getattr(import_module(module), named or attribute)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{kind}={name!r} needs {error.name}, which is not installed: "
            f"{install(extra)} installs it"
        ) from error


def _is_file(name: Any) -> bool:
    return isinstance(name, (str, Path)) and str(name).endswith(".py")


def _of_file(kind: str, path: Path, attribute: str) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{kind}={str(path)!r} is no file")
    try:
        module = _run(path)
    except ModuleNotFoundError as error:
        raise ImportError(f"{path} needs {error.name}, which is not installed") from error
    if not hasattr(module, attribute):
        raise ValueError(f"{path} must define {attribute!r}, as the file of a {kind}")
    return getattr(module, attribute)


def _run(path: Path) -> ModuleType:
    """The module of a file, run anew each time: the user may have changed it meanwhile."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # at the end: a file must not hide a package
    name = f"{__package__}.own.{path.stem}"
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there
    spec.loader.exec_module(module)
    return module
