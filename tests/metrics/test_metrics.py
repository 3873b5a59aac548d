"""Segmentation, depth, normals and attributes against loops over pixels, and exact values."""

import math

import numpy as np
import pytest
import torch
from settings import DEVICE

pytest.importorskip("torchmetrics")

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tssbn.metrics.attributes import Attributes
from tssbn.metrics.depth import Depth
from tssbn.metrics.normals import Normals
from tssbn.metrics.segmentation import Segmentation

EXACT = {"dtype": torch.float64, "device": DEVICE}


def score(metric, *batches):
    metric = metric.to(DEVICE)
    for prediction, target in batches:
        metric.update(prediction.to(DEVICE), target.to(DEVICE))
    return metric.compute()


# Segmentation


def iou_by_loops(prediction, target, classes):
    """IoU of each class and pixel accuracy, by sets of pixels."""
    counted = [i for i, label in enumerate(target) if label != -1]
    ious = []
    for c in range(classes):
        true = {i for i in counted if target[i] == c}
        predicted = {i for i in counted if prediction[i] == c}
        ious.append(len(true & predicted) / len(true | predicted) if true | predicted else math.nan)
    return ious, sum(prediction[i] == target[i] for i in counted) / len(counted)


@settings(max_examples=60, deadline=None)
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


# Depth


def depth_batches():
    """Three batches of different sizes with different numbers of holes."""
    batches = []
    for n, holes in ((4, 0.1), (2, 0.5), (1, 0.9)):
        target = torch.rand(n, 1, 5, 6, dtype=torch.float64) * 9 + 0.1
        target[torch.rand(target.shape) < holes] = 0
        target[..., 0] = 1.5
        batches.append((torch.rand(n, 1, 5, 6, dtype=torch.float64) * 9, target))
    return batches


def depth_by_loops(batches, pooling):
    means, weights = [], []
    for prediction, target in batches:
        pairs = zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True)
        errors = [(abs(p - t), (p - t) ** 2, abs(p - t) / t) for p, t in pairs if t != 0]
        means.append([sum(column) / len(errors) for column in zip(*errors, strict=True)])
        weights.append({"pixel": len(errors), "sample": len(target), "batch": 1}[pooling])
    total = [
        sum(w * mean[k] for w, mean in zip(weights, means, strict=True)) / sum(weights)
        for k in range(3)
    ]
    return {"absolute": total[0], "rmse": math.sqrt(total[1]), "relative": total[2]}


@pytest.mark.parametrize("pooling", ["pixel", "sample", "batch"])
def test_depth_errors_with_each_pooling(pooling):
    batches = depth_batches()
    values = score(Depth(pooling=pooling), *batches)
    assert values == pytest.approx(depth_by_loops(batches, pooling), rel=1e-12)


def test_the_poolings_differ_and_agree_where_all_batches_are_alike():
    batches = depth_batches()
    assert (
        len({score(Depth(pooling=p), *batches)["absolute"] for p in ("pixel", "sample", "batch")})
        == 3
    )
    full = [(torch.rand(2, 1, 3, 3), torch.rand(2, 1, 3, 3) + 1) for _ in range(3)]
    values = [score(Depth(pooling=p), *full)["rmse"] for p in ("pixel", "sample", "batch")]
    assert values == pytest.approx([values[0]] * 3, rel=1e-12)


def test_disparity_counts_zeros_and_has_no_relative_error():
    target = torch.tensor([[[[0.0, 2.0, -1.0]]]])
    values = score(Depth(ignore=-1), (torch.tensor([[[[0.5, 1.0, 7.0]]]]), target))
    assert values == pytest.approx({"absolute": 0.75, "rmse": math.sqrt(1.25 / 2)})
    inverse = score(Depth(ignore=0), (torch.tensor([[[[0.5, 1.0]]]]), target[..., :2]))
    assert inverse == {"absolute": 1.0, "rmse": 1.0, "relative": 0.5}


def test_perfect_depth_has_no_error():
    target = torch.rand(2, 1, 4, 4) + 0.1
    assert score(Depth(), (target, target)) == {"absolute": 0, "rmse": 0, "relative": 0}


def test_many_half_precision_pixels_add_up():
    target = torch.ones(1, 1, 300, 300, dtype=torch.float16)
    values = score(Depth(), *[(target * 1.5, target)] * 3)  # 135,000 is no float16
    assert values == {"absolute": 0.5, "rmse": 0.5, "relative": 0.5}


def test_depths_below_zero_or_not_finite_are_refused():
    fine, bad = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    bad[0, 0, 1, 1] = -1
    with pytest.raises(ValueError, match="target has the value -1, expected 0 or more, or 0 where"):
        score(Depth(), (fine, bad))
    bad[0, 0, 1, 1] = torch.inf
    with pytest.raises(ValueError, match="target is NaN or infinite at 1 places"):
        score(Depth(), (fine, bad))
    with pytest.raises(ValueError, match=r"pooling must be one of .* got 'image'"):
        Depth(pooling="image")


# Normals


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=1)


def normal_batches():
    batches = []
    for n, holes in ((3, 0.1), (2, 0.5), (1, 0.8)):
        target = unit(n, 3, 4, 5) * (torch.rand(n, 1, 4, 5) > holes)
        target[..., 0] = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1)
        target[..., 1] = torch.tensor([0.5, -0.5, 0.0]).view(1, 3, 1) * math.sqrt(2)  # sum is 0
        batches.append((target + 0.3 * torch.randn_like(target), target))
    return batches


def angles_by_arccos(prediction, target, mask):
    """The field's arccos of the clamped dot product of unit vectors, pixel by pixel."""
    pixels = prediction.movedim(1, -1).reshape(-1, 3), target.movedim(1, -1).reshape(-1, 3)
    angles = []
    for p, t in zip(*(x.tolist() for x in pixels), strict=True):
        if (sum(t) != 0) if mask == "sum" else any(t):
            dot = sum(a * b for a, b in zip(p, t, strict=True)) / math.hypot(*p) / math.hypot(*t)
            angles.append(math.degrees(math.acos(max(-1, min(1, dot)))))
    return np.array(angles)


def normals_by_loops(batches, pooling, mask):
    groups = [angles_by_arccos(*batch, mask) for batch in batches]
    sizes = [len(target) for _, target in batches]
    if pooling == "pixel":
        groups, sizes = [np.concatenate(groups)], [1]
    if pooling == "batch":
        sizes = [1] * len(groups)
    rows = [
        [a.mean(), np.median(a), (a < 11.25).mean(), (a < 22.5).mean(), (a < 30).mean()]
        for a in groups
    ]
    return np.average(rows, axis=0, weights=sizes)


@pytest.mark.parametrize("mask", ["norm", "sum"])
@pytest.mark.parametrize("pooling", ["pixel", "sample", "batch"])
def test_normals_with_each_pooling_and_mask(pooling, mask):
    batches = normal_batches()
    values = list(score(Normals(pooling, mask), *batches).values())
    expected = normals_by_loops(batches, pooling, mask)
    tolerance = [1e-6, 5.01e-4 if pooling == "pixel" else 1e-6, 1e-12, 1e-12, 1e-12]
    assert (np.abs(values - expected) <= tolerance).all()


@pytest.mark.parametrize("n", [1, 2, 3, 50, 51])
def test_the_pooled_median_is_right_to_its_resolution(n):
    target = torch.tensor([0.0, 0.0, -1.0], **EXACT).view(1, 3, 1, 1).expand(1, 3, 1, n)
    angle = torch.rand(n, **EXACT) * math.pi
    prediction = torch.stack([angle.sin(), 0 * angle, -angle.cos()]).view(1, 3, 1, n)
    values = score(Normals(), *zip(prediction.split(7, -1), target.split(7, -1), strict=True))
    assert abs(values["median"] - np.median(angle.rad2deg().cpu())) <= 5.01e-4
    assert values["mean"] == pytest.approx(angle.rad2deg().mean().item(), rel=1e-12)


def test_small_angles_keep_their_digits():
    target = torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1)
    tilted = torch.tensor([1e-5, 0.0, -1.0]).view(1, 3, 1, 1)
    assert torch.acos((tilted * target).sum().clamp(-1, 1)) == 0  # what float32 makes of it
    expected = math.degrees(math.atan(torch.tensor(1e-5).double()))
    assert score(Normals(), (tilted, target))["mean"] == pytest.approx(expected, rel=1e-9)


def test_angles_of_right_opposite_and_missing_directions():
    target = unit(2, 3, 4, 4)
    perfect = score(Normals("batch"), (5 * target, target))  # of any length
    assert list(perfect.values()) == pytest.approx([0, 0, 1, 1, 1], abs=1e-12)
    for pooling in ("batch", "pixel"):
        opposite = score(Normals(pooling), (-target, target))
        assert opposite["mean"] == pytest.approx(180) and opposite["within_30"] == 0
        assert opposite["median"] == pytest.approx(180, abs=5.01e-4)
    zero = score(Normals("batch"), (0 * target, target))
    assert (zero["mean"], zero["median"]) == pytest.approx((90, 90))


def test_limits_are_strict_and_the_mask_by_sums_drops_more():
    x = torch.tensor([1.0, 0.0, 0.0], **EXACT).view(1, 3, 1, 1)
    diagonal = torch.tensor([0.6, 0.8, 0.0], **EXACT).view(1, 3, 1, 1)
    angle = math.degrees(2 * math.atan2(math.hypot(0.4, 0.8), math.hypot(1.6, 0.8)))
    metric = Normals()
    metric.LIMITS = (angle, angle + 1e-9, 90)
    values = score(metric, (x, diagonal))
    assert [values[k] for k in values if "within" in k] == [0, 1, 1]
    crossed = torch.tensor([0.5, -0.5, 0.0], **EXACT).mul(math.sqrt(2)).view(1, 3, 1, 1)
    assert score(Normals(), (x, crossed))["mean"] == pytest.approx(45)
    assert math.isnan(score(Normals(mask="sum"), (x, crossed))["mean"])


def test_targets_that_are_no_unit_vectors_are_refused():
    target = unit(1, 3, 2, 2)
    target[..., 1, 1] *= 2
    with pytest.raises(ValueError, match="target has 1 vectors of other lengths, such as 2"):
        score(Normals(), (target, target))
    score(Normals(), (target[..., :1, :].half(), target[..., :1, :].half()))  # rounded is fine
    with pytest.raises(ValueError, match=r"mask must be one of .* got 'none'"):
        Normals(mask="none")


# Attributes


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
