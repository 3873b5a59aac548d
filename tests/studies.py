"""The scripts in book/studies and in tools, imported as they are run."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def script(name: str, folder: str = "book/studies"):
    """The module of a script; those beside it are found, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / folder)
        before = set(sys.modules)
        module = importlib.import_module(name)
        for other in set(sys.modules) - before:  # no test of another script finds them by name
            if str(ROOT / folder) in (getattr(sys.modules[other], "__file__", None) or ""):
                del sys.modules[other]
    return module
