"""Trained networks in plain PyTorch: of one task (:func:`task`), or of all, as a tree of branches.

What comes out holds no layer of this package, and so needs nothing of it where it runs.
"""

from tssbn.export.branches import branches
from tssbn.export.fold import fold
from tssbn.export.task import task

__all__ = ["branches", "fold", "task"]
