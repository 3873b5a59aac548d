"""The page of metrics has them all, and its examples run."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

for needed in ("torchmetrics", "scipy", "skimage"):
    pytest.importorskip(needed)

from tssbn import metrics
from tssbn.metrics.base import TaskMetric

PAGE = Path(__file__).resolve().parents[2] / "book/metrics.md"


def test_the_examples_run():
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    done = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags, encoding="utf-8")
    assert done.attempted > 20 and done.failed == 0


def test_every_metric_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    found = {
        f"{name}.{value.__name__}"
        for _, name, _ in pkgutil.iter_modules(metrics.__path__, "tssbn.metrics.")
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value) and issubclass(value, TaskMetric) and value.__module__ == name
        if "directions" in vars(value)
    }
    assert len(found) > 8
    assert not [name for name in found if f"~{name}`" not in text]
    assert text.count("**Constant baseline:**") >= len(found)
