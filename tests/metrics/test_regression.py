"""Errors of numbers: exact values, and those of scikit-learn."""

import math

import pytest
import torch

pytest.importorskip("torchmetrics")

from hypothesis import given, settings
from hypothesis import strategies as st
from measures import score

from tssbn.metrics.regression import Regression


def test_errors_of_numbers_by_hand():
    target = torch.tensor([1.0, 3.0, math.nan, 5.0])
    prediction = torch.tensor([[2.0], [3.0], [100.0], [2.0]])
    values = score(Regression(), (prediction, target))
    assert values == pytest.approx(
        {"absolute": 4 / 3, "rmse": math.sqrt(10 / 3), "r2": 1 - 10 / 8}, rel=1e-15
    )
    assert score(Regression(), (prediction.squeeze(1), target)) == values


@settings(max_examples=40)
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


@pytest.mark.parametrize(("value", "n"), [(0.0, 2), (1e6, 7), (0.3, 3), (33.3, 13)])
def test_equal_targets_have_no_r2(value, n):
    """By rounding, the sums of the last two have a spread above 0."""
    target = torch.full((n,), value, dtype=torch.float64)
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
