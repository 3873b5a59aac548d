"""The software versions that are saved with a run."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from tssbn import __version__

__all__ = ["environment"]


def environment() -> dict[str, Any]:
    """Collect the versions, the commit, and whether sources of the package were changed.

    Git supplies the commit if the package lies in a checkout. Otherwise it is the environment
    variable ``TSSBN_COMMIT``, such as ``530e93a`` or ``530e93a-dirty``, or None.

    Returns:
        ``"versions"`` of Python, torch and tssbn, ``"commit"`` and ``"dirty"``.

    Example:
        >>> sorted(environment())
        ['commit', 'dirty', 'versions']
    """
    versions = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # not a plain str, which checkpoints require
        "tssbn": __version__,
    }
    commit, _, dirty = (_git() or os.environ.get("TSSBN_COMMIT", "")).partition("-")
    return {"versions": versions, "commit": commit or None, "dirty": dirty == "dirty"}


def _git() -> str | None:
    """Return ``<short hash>`` or ``<short hash>-dirty`` if git tracks the package's sources."""
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
