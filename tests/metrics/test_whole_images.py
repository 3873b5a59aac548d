"""Metrics of labels of whole images: exact values, scikit-learn's, and missing labels."""

import math

import pytest
import torch
from settings import DEVICE

pytest.importorskip("torchmetrics")

from hypothesis import given, settings
from hypothesis import strategies as st

from tssbn.metrics.attributes import Attributes
from tssbn.metrics.classification import Classification
from tssbn.metrics.depth import Depth
from tssbn.metrics.regression import Regression


def score(metric, *batches):
    metric = metric.to(DEVICE)
    for prediction, target in batches:
        metric.update(prediction.to(DEVICE), target.to(DEVICE))
    return metric.compute()


# One of n classes


def test_accuracies_by_hand():
    """Of class 0 three of four are right, of class 1 none of one; class 2 is predicted once."""
    target = torch.tensor([0, 0, 0, 0, 1, -1, -1])
    prediction = torch.tensor([0, 0, 0, 1, 2, 1, 0])
    values = score(Classification(4), (prediction, target))
    assert values["accuracy"] == 3 / 5
    assert values["balanced_accuracy"] == (3 / 4 + 0) / 2
    assert values["f1"] == pytest.approx((6 / 7 + 0 + 0) / 3, rel=1e-15)
    assert values["recall"] == pytest.approx([3 / 4, 0, math.nan, math.nan], nan_ok=True)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(1, 30), st.integers(0, 2**31))
def test_the_same_as_scikit_learn_on_what_has_a_label(classes, n, seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    random = torch.Generator().manual_seed(seed)
    target = torch.randint(-1, classes, (n,), generator=random)
    target[0] = 0
    logits = torch.randn(n, classes, generator=random)
    values = score(Classification(classes), (logits, target))
    true, predicted = target[target >= 0], logits.argmax(1)[target >= 0]
    assert values["accuracy"] == pytest.approx(sklearn.accuracy_score(true, predicted))
    balanced = sklearn.balanced_accuracy_score(true, predicted)
    assert values["balanced_accuracy"] == pytest.approx(balanced)
    assert values["f1"] == pytest.approx(sklearn.f1_score(true, predicted, average="macro"))


def test_a_constant_answer_has_one_nth_of_balanced_accuracy():
    target = torch.tensor([0] * 90 + [1] * 9 + [2])
    values = score(Classification(3), (torch.zeros_like(target), target))
    assert values["accuracy"] == 0.9
    assert values["balanced_accuracy"] == pytest.approx(1 / 3, rel=1e-15)


def test_labels_that_are_no_class_are_refused():
    logits, target = torch.zeros(2, 3), torch.tensor([0, 3])
    with pytest.raises(
        ValueError, match=r"label 3, expected 0\.\.2, or -1 where there is no label"
    ):
        score(Classification(3), (logits, target))
    with pytest.raises(ValueError, match=r"prediction \(logits\) .* of shape \(2, 4\)"):
        score(Classification(4), (logits, target))
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        Classification(1)


# A number


def test_errors_of_numbers_by_hand():
    target = torch.tensor([1.0, 3.0, math.nan, 5.0])
    prediction = torch.tensor([[2.0], [3.0], [100.0], [2.0]])
    values = score(Regression(), (prediction, target))
    assert values == pytest.approx(
        {"absolute": 4 / 3, "rmse": math.sqrt(10 / 3), "r2": 1 - 10 / 8}, rel=1e-15
    )
    assert score(Regression(), (prediction.squeeze(1), target)) == values


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.floats(-1e4, 1e4), st.integers(0, 2**31))
def test_the_same_r2_as_scikit_learn_far_from_zero_too(n, shift, seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    random = torch.Generator().manual_seed(seed)
    target = shift + torch.randn(n, generator=random)
    prediction = shift + torch.randn(n, 1, generator=random)
    values = score(Regression(), (prediction[:1], target[:1]), (prediction[1:], target[1:]))
    wide = target.double(), prediction.squeeze(1).double()
    assert values["r2"] == pytest.approx(sklearn.r2_score(*wide), rel=1e-5, abs=1e-5)
    assert values["absolute"] == pytest.approx(sklearn.mean_absolute_error(*wide), rel=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6, -1e-6])
def test_equal_targets_have_no_r2(value):
    target = torch.full((7,), value)
    values = score(Regression(), (target[:, None] + 1, target))
    assert math.isnan(values["r2"]) and values["absolute"] > 0


def test_numbers_that_are_infinite_or_of_another_shape_are_refused():
    target = torch.tensor([1.0, math.inf])
    with pytest.raises(ValueError, match="target is NaN or infinite at 1 places"):
        score(Regression(), (torch.zeros(2, 1), target))
    with pytest.raises(
        ValueError, match=r"prediction must be floating of shape \(2, 1\), got .*2, 2"
    ):
        score(Regression(), (torch.zeros(2, 2), target))
    with pytest.raises(
        ValueError, match=r"prediction must be floating of shape \(2\), got .*\(3,\)"
    ):
        score(Regression(), (torch.zeros(3), target))


# Attributes without some labels


def test_f1_of_the_labels_that_are_there():
    target = torch.tensor([[1, -1, -1], [0, 1, -1], [1, 0, -1], [-1, 1, -1]])
    prediction = torch.tensor([[9.0, 9, 9], [9, 9, 9], [-9, -9, 9], [-9, 9, 9]])
    values = score(Attributes(3, inputs="logits"), (prediction, target))
    assert values["f1_per_attribute"] == pytest.approx([0.5, 1, math.nan], abs=1e-7, nan_ok=True)
    assert values["f1"] == pytest.approx(0.75, abs=1e-7)
    for i in (0, 1):
        known = target[:, i] >= 0
        alone = score(Attributes(inputs="logits"), (prediction[known, i], target[known, i]))
        assert alone["f1"] == values["f1_per_attribute"][i]


# A metric says what its first value is in


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        (Classification(2), "%"),
        (Attributes(inputs="logits"), "%"),
        (Regression("years"), "years"),
        (Regression(), ""),
        (Depth(unit="m"), "m"),
        (Depth(ignore=-1), ""),
    ],
)
def test_a_metric_knows_its_unit_and_keeps_it_in_a_copy(metric, unit):
    assert metric.unit == metric.clone().unit == unit


def test_images_without_a_measurement_have_no_weight_in_the_pooling_by_samples():
    full, none = torch.ones(1, 1, 1, 2), torch.zeros(3, 1, 1, 2)
    first = (torch.cat([3 * full, none]), torch.cat([full, none]))  # an error of 2, of one image
    second = (full * 2, full)  # an error of 1
    assert score(Depth(pooling="sample"), first, second)["absolute"] == 1.5
