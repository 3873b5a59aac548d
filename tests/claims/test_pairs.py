"""Differences between two arms each."""

import pytest

pytest.importorskip("pandas")
pytest.importorskip("timm")
pytest.importorskip("torchvision")

from tssbn.claims import Bed
from tssbn.claims.pairs import pairs

ARMS = {"stl": [10.0, 10.0, 10.0], "hps": [11.0, 11.5, 10.5], "tssbn": [12.0, 12.5, 11.5]}


def test_a_row_has_the_interval_and_what_the_paper_prints():
    bed = Bed({**ARMS, "tsbn": [11.0]}, baseline="stl")
    printed = {"stl": {}, "hps": {"delta": 1.0}, "tssbn": {"delta": 6.5}, "tsbn": {"delta": 4.0}}
    compared = [("tssbn", "hps"), ("hps", "stl"), ("tsbn", "hps")]
    made = pairs(bed, compared, printed)
    assert list(made.index) == ["TSσBN − HPS", "HPS − STL"]  # one run of TSBN has no interval
    assert list(made["in the paper"]) == ["+5.5", "+1.0"]
    assert list(made["difference of Δm"]) == [bed.compare(*pair).interval for pair in compared[:2]]
    assert "in the paper" not in pairs(bed, compared)
