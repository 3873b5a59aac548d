"""Loads tqdm's progress bars without what they say in a notebook that lacks ipywidgets.

lightning_fabric, torchmetrics and timm load them, too; rooms that import one of these come here
first.
"""

import warnings
from contextlib import suppress

with suppress(ImportError), warnings.catch_warnings():
    warnings.filterwarnings("ignore", "IProgress")
    import tqdm.auto  # noqa: F401
