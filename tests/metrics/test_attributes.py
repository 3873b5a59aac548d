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


@settings(max_examples=40)
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


NAMES = ("average_precision", "auc", "cross_entropy")


def test_scores_without_a_threshold_counted_by_hand():
    # In order: present, absent, present, absent. Precisions at the present ones: 1 and 2/3.
    target = torch.tensor([1, 0, 1, 0])
    prediction = torch.tensor([3.0, 1.0, -1.0, -3.0])
    values = score(Attributes(inputs="logits"), (prediction, target))
    assert values["average_precision"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-7)
    assert values["auc"] == pytest.approx(3 / 4, abs=1e-7)
    losses = [math.log1p(math.exp(x)) for x in (-3, 1, 1, -3)]
    assert values["cross_entropy"] == pytest.approx(sum(losses) / 4, rel=1e-7)
    again = score(Attributes(inputs="probabilities"), (prediction.sigmoid(), target))
    assert [again[name] for name in NAMES] == pytest.approx([values[name] for name in NAMES])


@settings(max_examples=40)
@given(st.integers(2, 40), st.integers(1, 9), st.integers(0, 2**31))
def test_auc_by_pairs_and_average_precision_by_thresholds(n, levels, seed):
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(levels, (n,), generator=generator).float()  # with many equal ones
    target = torch.randint(2, (n,), generator=generator)
    target[0], target[1] = 0, 1
    values = score(Attributes(inputs="logits"), (prediction, target))
    present, absent = prediction[target == 1], prediction[target == 0]
    above = (present[:, None] > absent).double() + 0.5 * (present[:, None] == absent).double()
    assert values["auc"] == pytest.approx(above.mean().item(), abs=1e-6)
    ap, recall = 0.0, 0.0
    for threshold in prediction.unique().flip(0):
        given_yes = prediction >= threshold
        hits = (given_yes & (target == 1)).sum().item()
        reached = hits / len(present)
        ap += (reached - recall) * hits / given_yes.sum().item()
        recall = reached
    assert values["average_precision"] == pytest.approx(ap, abs=1e-6)


def test_large_logits_keep_their_order():
    """A sigmoid of float32, or of float64, makes them one."""
    prediction, target = torch.tensor([50.0, 60.0, 70.0, 80.0]), torch.tensor([0, 0, 1, 1])
    values = score(Attributes(inputs="logits"), (prediction, target))
    assert values["auc"] == values["average_precision"] == 1
    values = score(Attributes(inputs="logits"), (-prediction, target))
    assert values["auc"] == 0 and values["average_precision"] == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_a_constant_has_the_share_and_one_half():
    target = torch.tensor([1, 0, 0, 0, 0])
    values = score(Attributes(inputs="logits"), (torch.full((5,), math.log(0.25)), target))
    assert values["average_precision"] == pytest.approx(0.2) and values["auc"] == pytest.approx(0.5)
    entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    assert values["cross_entropy"] == pytest.approx(entropy, rel=1e-6)


def test_scores_that_are_not_defined_are_left_out_of_the_mean():
    prediction = torch.tensor([[1.0, 1.0, 1.0], [-1.0, 2.0, 2.0]])
    target = torch.tensor([[1, 1, 0], [0, 1, 0]])  # both; only present; only absent
    values = score(Attributes(3, inputs="logits"), (prediction, target))
    assert values["auc"] == 1 and values["average_precision"] == 1
    alone = score(Attributes(inputs="logits"), (prediction[:, 2], target[:, 2]))
    assert (
        math.isnan(alone["auc"])
        and math.isnan(alone["average_precision"])
        and alone["cross_entropy"] > 1
    )
