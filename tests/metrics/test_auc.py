"""AUC and average precision against their definitions, scikit-learn, and exact values."""

import math

import pytest
import torch

pytest.importorskip("torchmetrics")

from hypothesis import given, settings
from hypothesis import strategies as st
from measures import score

from tssbn.metrics.auc import AUC


def draw(n, seed, levels):
    """Logits of so many levels, so that there are ties, and labels of both kinds."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(levels, (n,), generator=generator).double() - levels / 2
    labels = torch.randint(2, (n,), generator=generator)
    labels[:2] = torch.tensor([0, 1])
    return logits, labels


@settings(max_examples=40)
@given(st.integers(2, 60), st.integers(0, 2**31), st.sampled_from([1, 3, 1000]))
def test_auc_is_the_share_of_pairs_in_the_right_order(n, seed, levels):
    logits, labels = draw(n, seed, levels)
    above = logits[labels == 1][:, None] - logits[labels == 0]
    expected = ((above > 0).double() + 0.5 * (above == 0)).mean().item()
    assert score(AUC(), (logits, labels))["auc"] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=20)
@given(st.integers(2, 60), st.integers(0, 2**31), st.sampled_from([1, 3, 1000]))
def test_average_precision_is_that_of_scikit_learn(n, seed, levels):
    sklearn = pytest.importorskip("sklearn.metrics")
    logits, labels = draw(n, seed, levels)
    expected = sklearn.average_precision_score(labels, logits)
    found = score(AUC(), (logits, labels))["average_precision"]
    assert found == pytest.approx(expected, abs=1e-6)


def test_what_ranks_alike_has_the_same_auc():
    logits, labels = draw(50, 0, 1000)
    first = score(AUC(), (logits, labels))
    for other in (1000 * logits, logits - 500, logits / 1e6, logits**3):  # no sigmoid makes ties
        found = score(AUC(), (other, labels))
        assert found["auc"] == first["auc"]
        assert found["average_precision"] == first["average_precision"]
        assert found["cross_entropy"] != first["cross_entropy"]


def test_an_answer_that_ignores_the_input():
    labels = torch.tensor([1, 0, 0, 0])
    found = score(AUC(), (torch.full((4,), math.log(1 / 3), dtype=torch.float64), labels))
    assert found["auc"] == 0.5 and found["average_precision"] == 0.25
    entropy = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert found["cross_entropy"] == pytest.approx(entropy, abs=1e-12)


def test_labels_of_one_kind():
    logits = torch.tensor([1.0, -1.0])
    ones, zeros = (score(AUC(), (logits, torch.full((2,), label))) for label in (1, 0))
    assert math.isnan(ones["auc"]) and ones["average_precision"] == 1
    assert math.isnan(zeros["auc"]) and math.isnan(zeros["average_precision"])
    assert ones["cross_entropy"] == zeros["cross_entropy"] > 0


def test_columns_and_missing_labels():
    logits, labels = draw(9, 1, 100)
    expected = score(AUC(), (logits, labels))
    assert score(AUC(), (logits[:, None], labels)) == expected
    more = (
        torch.cat([logits, torch.tensor([99.0, -99.0])]),
        torch.cat([labels, torch.full((2,), -1)]),
    )
    assert score(AUC(), more) == expected
    with pytest.raises(ValueError, match=r"label 2, expected 0\.\.1, or -1 where there is no"):
        score(AUC(), (logits, 2 * labels))
    with pytest.raises(ValueError, match=r"prediction must be floating of shape \(9, 1\)"):
        score(AUC(), (logits[:, None].expand(9, 2), labels))
