"""What a saved run says of the software that made it."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from tssbn import __version__

__all__ = ["environment"]


def environment() -> dict[str, Any]:
    """Give the versions, the commit, and whether sources of the package were changed.

    The commit is that of the checkout the package lies in, by git; where there is no git,
    ``$TSSBN_COMMIT``, such as ``530e93a`` or ``530e93a-dirty``; else None.

    Example:
        >>> sorted(environment())
        ['commit', 'dirty', 'versions']
    """
    versions = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of its own, which checkpoints do not take
        "tssbn": __version__,
    }
    commit, _, dirty = (_git() or os.environ.get("TSSBN_COMMIT", "")).partition("-")
    return {"versions": versions, "commit": commit or None, "dirty": dirty == "dirty"}


def _git() -> str | None:
    """``<short hash>`` or ``<short hash>-dirty`` of the package's sources, if git tracks them."""
    package = Path(__file__).parent.parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=package, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # else some other repository around it
        return git("rev-parse", "--short", "HEAD") + "-dirty" * bool(git("status", "-s", "."))
    except (OSError, subprocess.CalledProcessError):
        return None
