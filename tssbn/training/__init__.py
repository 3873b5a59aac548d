"""Training of any method on any benchmark; import each module by name."""

import tssbn.bars  # noqa: F401
