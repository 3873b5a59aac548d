"""Accuracies of the class of an image: exact values, and those of scikit-learn."""

import math

import pytest
import torch

pytest.importorskip("torchmetrics")

from hypothesis import given, settings
from hypothesis import strategies as st
from measures import score

from tssbn.metrics.classification import Classification, WordClassification


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
@settings(max_examples=40)
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


def test_words_count_one_by_one_whatever_their_sentence():
    target = torch.tensor([[0, 1, 2, 0], [1, -1, -1, -1]])
    prediction = torch.tensor([[0, 1, 1, 1], [1, 0, 0, 0]])
    values = score(WordClassification(3), (prediction, target))
    assert values == score(Classification(3), (prediction.flatten(), target.flatten()))
    assert values["accuracy"] == 3 / 5
    with pytest.raises(ValueError, match=r"\(B, L\)"):
        score(WordClassification(3), (prediction[0], target[0]))
