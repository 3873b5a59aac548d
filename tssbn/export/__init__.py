"""Trained networks in plain PyTorch: of one task (:func:`task`), or of all, as a tree of branches.

What comes out holds no layer of this package, and so needs nothing of it where it runs.
"""

from tssbn.export import trees
from tssbn.export.folding import fold
from tssbn.export.single import task
from tssbn.export.unroll import branches

__all__ = ["branches", "fold", "task", "trees"]
