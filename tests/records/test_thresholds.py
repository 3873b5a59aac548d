"""Thresholds that are chosen on validation images: by hand, and against all others."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tssbn.records import f1_at_validation_thresholds
from tssbn.records.thresholds import best_threshold, f1_at


def test_f1_counted_by_hand():
    logits, labels = torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([1, 0, 1, -1])
    assert f1_at(1.5, logits, labels) == 2 * 1 / (2 + 2)
    assert f1_at(-1.0, logits, labels) == 2 * 2 / (3 + 2)  # the last has no label
    assert f1_at(9.0, logits, labels) == 0
    assert f1_at(9.0, logits, 0 * labels) == 0  # nothing there, nothing predicted
    assert math.isnan(f1_at(0.0, logits, labels.new_full((4,), -1)))


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**31))
def test_no_threshold_is_better(n, levels, seed):
    random = torch.Generator().manual_seed(seed)
    logits = torch.randint(levels, (n,), generator=random).double()
    labels = torch.randint(-1, 2, (n,), generator=random)
    best = best_threshold(logits, labels)
    if not (labels == 1).any():
        assert best == 0
        return
    reached = f1_at(best, logits, labels)
    assert all(f1_at(t - 0.5, logits, labels) <= reached for t in range(levels + 1))


def test_the_threshold_is_halfway_and_always_yes_is_below_all():
    logits = torch.tensor([-1.0, -3.0, -4.0])
    assert best_threshold(logits, torch.tensor([1, 0, 0])) == -2
    assert best_threshold(logits, torch.tensor([0, 0, 1])) == -5  # yes to all
    # Equal logits are not parted: both, or none of them.
    assert best_threshold(torch.tensor([2.0, 2.0, 1.0]), torch.tensor([1, 0, 0])) == 1.5


def test_test_labels_have_no_part_in_the_choice():
    val = {"a": torch.tensor([-1.0, -3.0])}, {"a": torch.tensor([1, 0])}
    test = {"a": torch.tensor([-1.5, -2.5, 4.0])}, {"a": torch.tensor([0, 1, 1])}
    logits, labels = ({"val": v, "test": t} for v, t in zip(val, test, strict=True))
    found = f1_at_validation_thresholds(logits, labels)
    assert found == {"a": {"threshold": -2.0, "f1": pytest.approx(2 * 1 / (2 + 2))}}
    other = {**labels, "test": {"a": torch.tensor([1, 0, 0])}}
    assert f1_at_validation_thresholds(logits, other)["a"]["threshold"] == -2.0
