"""``python -m tssbn bench``: what T tasks cost, against T steps of the plain backbone."""

import tssbn.bars  # noqa: F401
