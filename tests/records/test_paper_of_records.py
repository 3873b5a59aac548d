"""The paper's rows beside counted sizes."""

import pytest

pytest.importorskip("pandas")
pytest.importorskip("timm")
pytest.importorskip("torchvision")

from tssbn.records import paper_rows

NYUV2 = {"segmentation": 13, "depth": 1, "normal": 3}


def test_the_counted_parameters_are_those_of_the_paper():
    rows = paper_rows("nyuv2", NYUV2, (288, 384))
    assert rows["#P"].round(2).to_dict() == {
        "STL": 1,
        "HPS": 0.33,
        "Cross-Stitch": 1,
        "MTAN": 0.59,
        "TSBN ×100": 0.33,
        "TSσBN": 0.33,
    }
    ratio = rows["#P"]["TSσBN"] / rows["#P"]["HPS"] - 1
    assert ratio == pytest.approx(0.0003, abs=5e-5)
    assert rows["Δm"]["STL"] == 0
    # A pass for each task, but for the stem; three heads and one trunk.
    assert 0.99 < rows["#F"]["TSσBN"] < 1 and 1 / 3 < rows["#F"]["HPS"] < 0.4
