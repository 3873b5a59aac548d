"""The figure of the first page is drawn from saved runs, the same bytes each time."""

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
pytest.importorskip("lightning_fabric")

from studies import script


def test_the_figure_is_drawn_twice_alike_for_both_grounds(tmp_path):
    study = script("result")
    beds = study.found()
    assert beds and all(
        {"TSBN", "TSσBN"} <= {*arms} <= {"STL", "TSBN", "TSσBN"} for arms in beds.values()
    )
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        study.main(tmp_path / folder)
    for name in ("result", "result-dark"):
        one, two = ((tmp_path / folder / f"{name}.svg").read_bytes() for folder in ("one", "two"))
        assert one == two and b"<svg" in one
