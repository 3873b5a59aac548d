"""Segmentation against sets of pixels, scikit-learn, and exact values."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip("torchmetrics")

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from measures import score

from tssbn.metrics.segmentation import Segmentation


def iou_by_loops(prediction, target, classes):
    """IoU of each class and pixel accuracy, by sets of pixels."""
    counted = [i for i, label in enumerate(target) if label != -1]
    ious = []
    for c in range(classes):
        true = {i for i in counted if target[i] == c}
        predicted = {i for i in counted if prediction[i] == c}
        ious.append(len(true & predicted) / len(true | predicted) if true | predicted else math.nan)
    return ious, sum(prediction[i] == target[i] for i in counted) / len(counted)


@settings(max_examples=60)
@given(st.integers(2, 6), st.data())
def test_miou_of_any_label_maps(classes, data):
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)))
    target = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(-1, classes - 1)))
    prediction = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, classes - 1)))
    target.flat[0] = max(target.flat[0], 0)
    values = score(Segmentation(classes), (torch.tensor(prediction), torch.tensor(target)))
    ious, accuracy = iou_by_loops(prediction.ravel().tolist(), target.ravel().tolist(), classes)
    assert values["iou"] == pytest.approx(ious, abs=1e-15, nan_ok=True)
    present = [iou for iou in ious if not math.isnan(iou)]
    assert values["miou"] == pytest.approx(sum(present) / len(present), abs=1e-14)
    assert values["accuracy"] == pytest.approx(accuracy, abs=1e-15)


@pytest.mark.parametrize("classes", [7, 10, 13, 19, 21])
def test_logits_count_as_their_largest_class_in_every_format(classes):
    logits = torch.randn(2, classes, 6, 7)
    target = torch.randint(-1, classes, (2, 6, 7))
    expected = score(Segmentation(classes), (logits.argmax(1), target))
    for dtype in (torch.float32, torch.float64):
        values = score(Segmentation(classes), (logits.to(dtype), target))
        assert values["miou"] == expected["miou"]
    assert 0 < expected["miou"] < 1


def test_one_class_may_be_ruled_out_but_not_all_and_nan_is_never_the_largest():
    target = torch.tensor([[[0, 2]]])
    logits = torch.tensor([1.0, 0.0, 2.0]).view(1, 3, 1, 1).repeat(1, 1, 1, 2)
    logits[:, 2, :, 0] = -torch.inf
    assert score(Segmentation(3), (logits, target))["accuracy"] == 1
    for c, wrong in ((0, torch.nan), (1, torch.inf), (slice(3), -torch.inf)):
        bad = logits.clone()
        bad[:, c, :, 1] = wrong
        with pytest.raises(ValueError, match="prediction is NaN or infinite at 1 places"):
            score(Segmentation(3), (bad, target))


def test_the_same_miou_as_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    target, prediction = torch.randint(5, (2, 3, 8, 9))
    values = score(Segmentation(5), (prediction, target))
    flat = target.flatten(), prediction.flatten()
    assert values["miou"] == pytest.approx(sklearn.jaccard_score(*flat, average="macro"))
    assert values["accuracy"] == pytest.approx(sklearn.accuracy_score(*flat))


def test_one_matrix_is_not_the_mean_over_images():
    target = torch.tensor([[[0, 0, 0, 1]], [[1, 1, 1, 1]]])
    prediction = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 1]]])
    values = score(Segmentation(2), (prediction, target))
    assert values["iou"] == [3 / 4, 4 / 5]
    assert values["miou"] == pytest.approx((3 / 4 + 4 / 5) / 2)  # images: (3/8 + 1) / 2
    assert values["accuracy"] == 7 / 8


def test_perfect_and_constant_labels_and_classes_that_never_occur():
    target = torch.tensor([[[0, 0, 1, 1, 2, 2, -1, -1]]])
    perfect = score(Segmentation(5), (target.clamp(min=0), target))
    assert (perfect["miou"], perfect["accuracy"]) == (1, 1)
    assert [math.isnan(iou) for iou in perfect["iou"]] == [False, False, False, True, True]
    constant = score(Segmentation(5), (torch.zeros_like(target), target))
    assert constant["miou"] == pytest.approx((2 / 6 + 0 + 0) / 3)
    assert constant["accuracy"] == pytest.approx(2 / 6)
    # class 4 is in no target: predicting it is wrong, and it joins the mean with 0
    absent = score(Segmentation(5), (torch.full_like(target, 4), target))
    assert absent["iou"][4] == 0 and absent["miou"] == 0


def test_labels_out_of_range_are_refused():
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    for bad in (3, 255, -2):
        with pytest.raises(
            ValueError, match=rf"target has the label {bad}, expected 0\.\.2, or -1"
        ):
            score(Segmentation(3), (target, torch.full_like(target, bad)))
        with pytest.raises(ValueError, match=rf"prediction has the label {bad}, expected 0\.\.2$"):
            score(Segmentation(3), (torch.full_like(target, bad), target))
    with pytest.raises(ValueError, match=r"prediction \(logits\) must be floating of shape"):
        score(Segmentation(3), (torch.zeros(1, 4, 2, 2), target))
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        Segmentation(1)
