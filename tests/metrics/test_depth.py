"""Errors of depth and disparity against loops over pixels, and exact values."""

import math

import pytest
import torch

pytest.importorskip("torchmetrics")

from measures import score

from tssbn.metrics.depth import Depth


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


def test_images_without_a_measurement_have_no_weight_in_the_pooling_by_samples():
    full, none = torch.ones(1, 1, 1, 2), torch.zeros(3, 1, 1, 2)
    first = (torch.cat([3 * full, none]), torch.cat([full, none]))  # an error of 2, of one image
    second = (full * 2, full)  # an error of 1
    assert score(Depth(pooling="sample"), first, second)["absolute"] == 1.5
