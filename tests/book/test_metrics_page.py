"""The page of metrics has them all, and its examples run."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("skimage")  # of boundaries
metrics = pytest.importorskip("tssbn.metrics")
TaskMetric = pytest.importorskip("tssbn.metrics.base").TaskMetric
Segmentation = pytest.importorskip("tssbn.metrics.segmentation").Segmentation

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


def test_the_mean_of_each_images_miou_is_another_number():
    truth = torch.zeros(2, 10, 10, dtype=torch.int64)
    truth[1, 5:] = 1
    guess = truth.clone()
    guess[0, 0, 0] = 1

    def miou(images):
        metric = Segmentation(classes=2)
        metric.update(guess[images], truth[images])
        return metric.compute()["miou"]

    assert round(miou([0, 1]), 3) == 0.987
    assert round((miou([0]) + miou([1])) / 2, 3) == 0.748
