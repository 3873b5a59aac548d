"""Angles between normals against loops over pixels, and exact values."""

import math

import numpy as np
import pytest
import torch
from settings import DEVICE

pytest.importorskip("torchmetrics")

from measures import score

from tssbn.metrics.normals import Normals

EXACT = {"dtype": torch.float64, "device": DEVICE}


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
