"""maxF and mean IoU of saliency, against loops over thresholds."""

import math

import numpy as np
import pytest
import torch
from settings import DEVICE

pytest.importorskip("torchmetrics")

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tssbn.metrics.saliency import SaliencyF, SaliencyIoU

SHAPE = 3, 4, 5
# Values at the thresholds themselves are rounded twice; none of these is one.
PROBABILITIES = hnp.arrays(np.float64, SHAPE, elements=st.sampled_from(np.arange(25) / 24 * 0.999))
TARGETS = hnp.arrays(np.int64, SHAPE, elements=st.integers(-1, 1))


def score(metric, prediction, target):
    metric = metric.to(DEVICE)
    metric.update(torch.as_tensor(prediction).to(DEVICE), torch.as_tensor(target).to(DEVICE))
    return next(iter(metric.compute().values()))


def f_by_loops(probability, target, thresholds):
    p, t = probability[target >= 0], target[target >= 0] == 1
    best = 0
    for threshold in thresholds:
        positive = p >= threshold
        if (positive & t).any():
            precision, recall = (
                (positive & t).sum() / positive.sum(),
                (positive & t).sum() / t.sum(),
            )
            best = max(best, 1.3 * precision * recall / (0.3 * precision + recall))
    return best


@settings(max_examples=50)
@given(PROBABILITIES, TARGETS)
def test_max_f_of_any_maps(probability, target):
    target[0, 0, 0] = 1
    expected = f_by_loops(probability, target, np.arange(0.05, 1, 0.05))
    metric = SaliencyF("probabilities")
    assert score(metric, probability, target) == pytest.approx(expected, abs=1e-14)
    # The sigmoid of a probability reaches 0.5 always, and 0.75 never: five thresholds are left.
    left = [-math.inf, *(math.log(t / (1 - t)) for t in (0.55, 0.6, 0.65, 0.7))]
    assert left[1:] == pytest.approx([0.2007, 0.4055, 0.6190, 0.8473], abs=5e-5)
    metric = SaliencyF("probabilities", double_sigmoid=True)
    expected = f_by_loops(probability, target, left)
    assert score(metric, probability, target) == pytest.approx(expected, abs=1e-14)


@settings(max_examples=50)
@given(PROBABILITIES, TARGETS)
def test_miou_of_any_maps(probability, target):
    target[0, 0, 0] = 0
    means = []
    for threshold in np.linspace(0.2, 0.9, 15):
        ious = []
        for p, t in zip(probability, target, strict=True):
            p, t = p[t >= 0] > threshold, t[t >= 0] == 1
            if len(t):
                ious.append((p & t).sum() / (p | t).sum() if (p | t).any() else 1)
        means.append(np.mean(ious))
    assert score(SaliencyIoU("probabilities"), probability, target) == pytest.approx(max(means))


@pytest.mark.parametrize("metric", [SaliencyF, SaliencyIoU])
def test_logits_of_two_channels_or_one_are_probabilities(metric):
    logits = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    target = torch.randint(-1, 2, (2, 6, 6))
    softmax = logits.softmax(1)
    margin = logits[:, 1] - logits[:, 0]
    values = [
        score(metric("probabilities"), softmax, target),
        score(metric("probabilities"), softmax[:, 1:], target),
        score(metric("probabilities"), softmax[:, 1], target),
        score(metric("logits"), logits, target),
        score(metric("logits"), margin[:, None], target),
        score(metric("logits"), margin, target),
    ]
    assert values == pytest.approx([values[0]] * 6) and 0 < values[0] < 1


def test_thresholds_are_reached_in_f_and_passed_in_iou():
    target = torch.tensor([[[1, 0]]])

    def told_apart(metric, salient, other):
        prediction = torch.tensor([[[salient, other]]], dtype=torch.float64)
        return score(metric("probabilities"), prediction, target) == 1

    for k in range(1, 20):
        assert told_apart(SaliencyF, k / 20, k / 20 - 1e-9)
        assert not told_apart(SaliencyF, k / 20 - 1e-9, (k - 1) / 20)
    assert not told_apart(SaliencyF, 1.0, 0.95)
    for k in range(4, 19):
        assert told_apart(SaliencyIoU, k / 20 + 1e-9, k / 20)
        assert not told_apart(SaliencyIoU, k / 20, (k - 1) / 20 + 1e-9)
    assert not told_apart(SaliencyIoU, 1.0, 0.91) and not told_apart(SaliencyIoU, 0.19, 0.0)


def test_perfect_inverted_and_constant_maps():
    target = torch.tensor([[[1, 1, 0, 0, -1]], [[1, 0, 0, 0, -1]]])
    perfect = target.clamp(min=0).double()
    for metric in (SaliencyF, SaliencyIoU):
        assert score(metric("probabilities"), perfect, target) == 1
        assert score(metric("probabilities"), 1 - perfect, target) == 0
    ones = torch.ones_like(perfect)
    assert score(SaliencyIoU("probabilities"), ones, target) == pytest.approx((2 / 4 + 1 / 4) / 2)
    f = 1.3 * (3 / 8) * 1 / (0.3 * 3 / 8 + 1)
    assert score(SaliencyF("probabilities"), ones, target) == pytest.approx(f)
    # With the double sigmoid everything is salient at the low thresholds, even zeros.
    assert score(SaliencyF("probabilities", True), 0 * ones, target) == pytest.approx(f)
    assert score(SaliencyF("probabilities"), 0 * ones, target) == 0


def test_images_with_nothing_salient():
    nothing = torch.zeros(1, 2, 2, dtype=torch.int64)
    assert score(SaliencyIoU("probabilities"), torch.zeros(1, 2, 2), nothing) == 1
    assert score(SaliencyIoU("probabilities"), torch.ones(1, 2, 2), nothing) == 0
    for prediction in (torch.ones(1, 2, 2), torch.zeros(1, 2, 2)):
        assert math.isnan(score(SaliencyF("probabilities"), prediction, nothing))


@pytest.mark.parametrize("metric", [SaliencyF, SaliencyIoU])
def test_what_is_no_probability_or_label_is_refused(metric):
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"value -0\.5, expected probabilities in \[0, 1\]"):
        score(metric("probabilities"), torch.full((1, 2, 2), -0.5), target)
    with pytest.raises(
        ValueError, match=r"target has the label 2, expected 0\.\.1, or -1 for void"
    ):
        score(metric("probabilities"), torch.zeros(1, 2, 2), target + 2)
    with pytest.raises(ValueError, match="inputs must be one of"):
        metric("sigmoid")
    with pytest.raises(ValueError, match="prediction must be floating of shape"):
        score(metric("logits"), torch.zeros(1, 3, 2, 2), target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_probability_on_a_threshold_reaches_it_in_every_format(dtype):
    prediction = torch.tensor([[[0.35, 0.30]]], dtype=dtype)
    target = torch.tensor([[[1, 0]]])
    metric = SaliencyF(inputs="probabilities")
    metric.update(prediction, target)
    assert metric.compute()["max_f"] == 1
