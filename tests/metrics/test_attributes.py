"""F1 of attributes against loops over samples, scikit-learn, and exact values."""

import math

import pytest
import torch

pytest.importorskip("torchmetrics")

from hypothesis import given, settings
from hypothesis import strategies as st
from measures import score

from tssbn.metrics.attributes import Attributes


def f1_by_loops(prediction, target):
    f1 = []
    for p, t in zip(prediction.T.tolist(), target.T.tolist(), strict=True):
        tp = sum(x > 0.5 and y == 1 for x, y in zip(p, t, strict=True))
        fp = sum(x > 0.5 and y == 0 for x, y in zip(p, t, strict=True))
        fn = sum(x <= 0.5 and y == 1 for x, y in zip(p, t, strict=True))
        precision, recall = tp / (tp + fp + 1e-8), tp / (tp + fn + 1e-8)
        f1.append(2 * precision * recall / (precision + recall + 1e-8))
    return f1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**31))
def test_f1_of_any_attributes(n, attributes, seed):
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.rand(n, attributes, generator=generator, dtype=torch.float64)
    target = torch.randint(2, (n, attributes), generator=generator)
    values = score(Attributes(attributes, inputs="probabilities"), (prediction, target))
    expected = f1_by_loops(prediction, target)
    assert values["f1_per_attribute"] == pytest.approx(expected, abs=1e-14)
    assert values["f1"] == pytest.approx(sum(expected) / attributes, abs=1e-14)
    same = score(Attributes(attributes, inputs="logits"), (prediction.logit(), target))
    assert same["f1"] == values["f1"]


def test_the_same_f1_as_scikit_learn_but_for_the_guards():
    sklearn = pytest.importorskip("sklearn.metrics")
    prediction, target = torch.rand(200, 6), torch.randint(2, (200, 6))
    target[:, 5] = 0  # never present
    prediction[:, 4] = 0  # never predicted
    values = score(Attributes(6, inputs="probabilities"), (prediction, target))
    expected = sklearn.f1_score(target, prediction > 0.5, average=None, zero_division=0)
    assert values["f1_per_attribute"] == pytest.approx(expected.tolist(), abs=1e-7)
    assert values["f1_per_attribute"][4:] == [0, 0]


def test_one_attribute_takes_vectors_and_columns():
    prediction, target = torch.randn(9), torch.randint(2, (9,))
    values = {
        score(Attributes(inputs="logits"), (p, t))["f1"]
        for p in (prediction, prediction[:, None])
        for t in (target, target[:, None])
    }
    assert len(values) == 1 and 0 < values.pop() < 1


def test_half_is_not_predicted_and_one_is_perfect():
    target = torch.tensor([1, 0, 1])
    assert score(Attributes(inputs="probabilities"), (torch.full((3,), 0.5), target))["f1"] == 0
    assert score(Attributes(inputs="logits"), (torch.zeros(3), target))["f1"] == 0
    perfect = score(Attributes(inputs="probabilities"), (target.float(), target))
    assert perfect["f1"] == pytest.approx(1, abs=2e-8)


def test_what_predictions_are_must_be_said_and_true():
    with pytest.raises(TypeError, match="inputs"):
        Attributes(3)
    with pytest.raises(ValueError, match=r"inputs must be one of .* got 'scores'"):
        Attributes(3, inputs="scores")
    with pytest.raises(ValueError, match="attributes must be at least 1, got 0"):
        Attributes(0, inputs="logits")
    target = torch.tensor([[1], [0]])
    with pytest.raises(ValueError, match=r"value 1\.5, expected probabilities .* are these logits"):
        score(Attributes(inputs="probabilities"), (torch.tensor([[1.5], [0.0]]), target))
    with pytest.raises(ValueError, match=r"label 2, expected 0\.\.1, or -1 where there is no"):
        score(Attributes(inputs="logits"), (torch.zeros(2, 1), 2 * target))
    with pytest.raises(ValueError, match=r"prediction must be floating of shape \(2, 1\)"):
        score(Attributes(inputs="logits"), (torch.zeros(2, 2), target))


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
