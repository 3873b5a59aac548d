"""Export trained networks as plain PyTorch, for one task (:func:`task`) or as a tree of branches.

The exported network has no layers of this package, and runs without it.
"""

from tssbn.export import trees
from tssbn.export.folding import fold
from tssbn.export.single import task
from tssbn.export.unroll import branches

__all__ = ["branches", "fold", "task", "trees"]
