"""odsF: the matching against the best assignment, and the score against a plain re-computation."""

import math

import numpy as np
import pytest
import torch
from settings import DEVICE

pytest.importorskip("torchmetrics")
pytest.importorskip("scipy")
pytest.importorskip("skimage")

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment
from skimage.morphology import thin

from tssbn.metrics.boundary import Boundary, matches

MAPS = hnp.arrays(bool, (6, 7))


def score(metric, *batches):
    metric = metric.to(DEVICE)
    for prediction, target in batches:
        metric.update(prediction.to(DEVICE), target.to(DEVICE))
    return metric.compute()["ods_f"]


def pairs_by_assignment(predicted, true, distance):
    """The most pairs within the distance: the best assignment of all points to all points."""
    a, b = np.argwhere(predicted), np.argwhere(true)
    far = np.linalg.norm(a[:, None] - b[None], axis=-1) > distance
    rows, columns = linear_sum_assignment(far.astype(float))
    return int((~far[rows, columns]).sum())


def f_by_loops(batches, tolerance, thresholds):
    best = 0
    for k in range(1, thresholds + 1):
        matched = predicted = true = 0
        for prediction, target in batches:
            for p, t in zip(prediction.numpy(), target.numpy(), strict=True):
                mask = (p >= k / (thresholds + 1)) & (t != -1)
                lines, line = thin(mask), thin(t == 1)
                matched += pairs_by_assignment(lines, line, tolerance * math.hypot(*t.shape))
                predicted, true = predicted + lines.sum(), true + line.sum()
        if matched:
            precision, recall = matched / predicted, matched / true
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


@settings(max_examples=80)
@given(MAPS, MAPS, st.sampled_from([0, 1, 1.5, 2, 3.7]))
def test_as_many_pairs_as_the_best_assignment_has(predicted, true, distance):
    assert matches(predicted, true, distance) == pairs_by_assignment(predicted, true, distance)


@pytest.mark.parametrize("tolerance", [0, 0.02, 0.1])
@pytest.mark.parametrize("thresholds", [1, 4, 9])
def test_ods_f_of_blurred_lines(tolerance, thresholds):
    batches = []
    for n in (2, 1):
        target = (torch.rand(n, 20, 24) < 0.06).long()
        near = torch.nn.functional.max_pool2d(target[:, None].double(), 3, 1, 1)[:, 0]
        prediction = (0.7 * near * torch.rand(near.shape) + 0.3 * torch.rand(near.shape)).clamp(
            0, 1
        )
        target[:, 3:6, 5:9] = -1
        batches.append((prediction, target))
    value = score(Boundary("probabilities", tolerance, thresholds), *batches)
    assert value == pytest.approx(f_by_loops(batches, tolerance, thresholds), abs=1e-14)
    assert 0.05 < value < 0.95


def test_a_perfect_prediction_of_lines_of_any_width():
    for width in (1, 2, 5):
        target = torch.zeros(1, 30, 40, dtype=torch.int64)
        target[:, 10 : 10 + width] = 1
        target[:, :, 20 : 20 + width] = 1
        assert score(Boundary("probabilities", 0), (target.double(), target)) == 1


def test_a_shifted_line_matches_up_to_the_tolerance():
    target = torch.zeros(1, 30, 40, dtype=torch.int64)  # the diagonal is 50
    target[:, 10] = 1
    shifted = target.roll(3, dims=1).double()
    assert score(Boundary("probabilities", 3 / 50), (shifted, target)) == 1
    assert score(Boundary("probabilities", 2.9 / 50), (shifted, target)) == 0
    both = torch.maximum(target, target.roll(9, dims=1)).double()  # precision 1/2, recall 1
    assert score(Boundary("probabilities", 2 / 50), (both, target)) == pytest.approx(2 / 3)


def test_one_threshold_serves_the_whole_data_set():
    target = torch.zeros(2, 9, 9, dtype=torch.int64)
    target[:, 4] = 1
    prediction = target * torch.tensor([0.9, 0.3], dtype=torch.float64).view(2, 1, 1)
    prediction[0, 0], prediction[1, 0] = 0.6, 0.05  # below 0.3 all is found, with a false line
    value = score(Boundary("probabilities", 0), (prediction, target))
    assert value == pytest.approx(2 * 18 / (27 + 18))  # each image alone has a threshold with F = 1
    assert score(Boundary("probabilities", 0), (prediction[:1], target[:1])) == 1
    assert score(Boundary("probabilities", 0), (prediction[1:], target[1:])) == 1


def test_thresholds_are_reached_and_every_one_counts():
    target = torch.zeros(1, 9, 9, dtype=torch.int64)
    target[:, 4] = 1
    assert score(Boundary("probabilities", 0, thresholds=1), (target / 2, target)) == 1
    assert score(Boundary("probabilities", 0, thresholds=1), (target * 0.499, target)) == 0
    prediction = 0.95 * target.double()
    prediction[:, 0] = (
        torch.arange(1.0, 10, dtype=torch.float64) / 10
    )  # a false line that loses one pixel at a time
    assert score(Boundary("probabilities", 0, 9), (prediction, target)) == 2 * 9 / (9 + 10)
    prediction[:, 0] -= 0.01
    assert score(Boundary("probabilities", 0, 9), (prediction, target)) == 1


def test_padding_changes_nothing():
    target = (torch.rand(1, 16, 18) < 0.1).long()
    prediction = torch.rand(1, 16, 18, dtype=torch.float64)
    alone = score(Boundary("probabilities", 0.08, 9), (prediction, target))
    pad = (5, 2, 3, 9)
    padded = (
        torch.nn.functional.pad(prediction, pad, value=1.0),
        torch.nn.functional.pad(target, pad, value=-1),
    )
    assert score(Boundary("probabilities", 0.08, 9), padded) == alone


def test_logits_and_thresholds():
    logits = torch.randn(1, 2, 12, 12, dtype=torch.float64)
    target = (torch.rand(1, 12, 12) < 0.15).long()
    values = [
        score(Boundary("logits", 0.05, 9), (logits, target)),
        score(Boundary("logits", 0.05, 9), (logits[:, 1:] - logits[:, :1], target)),
        score(Boundary("probabilities", 0.05, 9), (logits.softmax(1), target)),
    ]
    assert values == pytest.approx([values[0]] * 3)
    more = score(Boundary("logits", 0.05, 19), (logits, target))
    assert more >= values[0]  # every second threshold is one of the nine


def test_without_a_boundary_in_any_target_there_is_no_f():
    empty = torch.zeros(1, 4, 4, dtype=torch.int64)
    for prediction in (torch.ones(1, 4, 4), torch.zeros(1, 4, 4)):
        assert math.isnan(score(Boundary("probabilities"), (prediction, empty)))


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="tolerance must be a fraction of the diagonal, got 4"):
        Boundary("logits", tolerance=4)
    with pytest.raises(ValueError, match="thresholds must be at least 1, got 0"):
        Boundary("logits", thresholds=0)
