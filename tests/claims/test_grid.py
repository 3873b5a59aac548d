"""Table G: each balancing against the plain sum of its own method."""

import math

import pytest

pytest.importorskip("scipy")
pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")

from tssbn import records
from tssbn.__main__ import main
from tssbn.claims import Bed
from tssbn.claims.grid import grid
from tssbn.claims.libmtl import published

UP = {"income": True, "error": False}


def record(method, balance, seed, *values, **changes):
    """A finished run of census with two tasks, whose values are given in percent."""
    scores = {task: {"auc": value / 100} for task, value in zip(UP, values, strict=True)}
    return {
        "benchmark": "census",
        "method": method,
        "balance": balance,
        "seed": seed,
        "settings": {} if balance == "sum" else {"balance": balance},
        "options": {},
        "recipe": {"epochs": 1, "report": "last"},
        "data": {"kind": "real", "splits": {"test": {"samples": 9, "official": 9, "sha256": "a"}}},
        "device": "a CPU",
        "precision": "32",
        "parameters": 10,
        "macs": 10,
        "seconds": 10.0 + seed,
        "directions": UP,
        "metric": dict.fromkeys(UP, "auc"),
        "units": dict.fromkeys(UP, "%"),
        "epochs": [{"epoch": 1, "test": scores}],
        "finished": True,
        **changes,
    }


PLAIN = [(80, 20), (82, 21), (81, 19)]
BETTER = [(90, 16), (91, 15), (92, 14)]
SAME = [(81, 20), (82, 20), (81, 20)]


def runs(method, **of):
    return [
        record(method, balance.replace("_", "-"), seed, *row)
        for balance, rows in of.items()
        for seed, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def made():
    hps = runs("hps", nash_mtl=BETTER, sum=PLAIN, uw=SAME)
    wide = {"options": {"width": 9}}
    mtan = [record("mtan", "sum", seed, *row, **wide) for seed, row in enumerate(SAME)]
    left_out = *runs("stl", sum=SAME), *mtan
    return grid("census", [*left_out, *runs("tssbn", sum=BETTER, uw=PLAIN), *hps])


def test_a_gain_is_against_the_plain_sum_of_the_same_method(made):
    """81 to 91 is 10/81, 20 to 15 is 1/4."""
    assert (made.methods, made.balancings) == (["hps", "tssbn"], ["sum", "uw", "nash-mtl"])
    gain = 50 * (10 / 81 + 1 / 4)
    assert made.cells["hps", "nash-mtl"].gain == pytest.approx(gain)
    assert made.cells["tssbn", "uw"].gain == pytest.approx(50 * (-10 / 91 - 5 / 15))
    for method in made.methods:
        assert made.cells[method, "sum"].gain == 0 and made.cells[method, "sum"].effect is None
    assert made.cells["hps", "uw"].seconds == 11
    assert made.cells["hps", "uw"].row.values["income"].mean == pytest.approx(244 / 3)


def test_intervals_are_those_of_all_balancings_of_a_method_together(made):
    scores = {"sum": PLAIN, "nash-mtl": BETTER, "uw": SAME}
    expected = Bed(scores, tuple(UP.values()), "sum").against("sum", "uw", "nash-mtl")
    for balance, effect in expected.items():
        cell = made.cells["hps", balance]
        assert (cell.effect.low, cell.effect.high) == pytest.approx((-effect.high, -effect.low))
        assert cell.effect.value == pytest.approx(cell.gain)
    assert [made.cells["hps", balance].sure for balance in made.balancings] == [False, False, True]


def test_what_is_printed(made):
    lines = [" ".join(line.split()) for line in str(made).splitlines()]
    assert lines[0] == "Census-Income: balancings"
    assert "Δm, % HPS TSσBN" in lines
    cell = made.cells["hps", "nash-mtl"]
    assert f"nash-mtl {cell.gain:+.2f}* -" in lines
    ends = f"[{cell.effect.low:+.2f}, {cell.effect.high:+.2f}]"
    assert f"nash-mtl 3 91.00 ± 1.00 15.00 ± 1.00 {cell.gain:+.2f} {ends} 11" in lines
    assert "STL" not in str(made) and "LibMTL" not in str(made)


def test_the_caption_is_of_the_methods_that_are_shown(made):
    assert "mtan" not in made.caption


def test_a_single_run_has_a_gain_and_no_interval_and_one_without_a_plain_sum_no_gain():
    made = grid("census", [*runs("hps", sum=PLAIN[:1], uw=SAME[:1]), *runs("mmoe", uw=SAME)])
    assert made.cells["hps", "uw"].gain > 0 and made.cells["hps", "uw"].effect is None
    assert made.cells["mmoe", "uw"].gain is None and made.cells["mmoe", "uw"].effect is None
    assert str(made)


def test_with_the_plain_sum_alone_all_methods_are_there():
    made = grid("census", [*runs("hps", sum=PLAIN), *runs("mtan", sum=SAME)])
    assert made.methods == ["hps", "mtan"] and made.balancings == ["sum"]


def test_a_score_that_is_not_a_number_leaves_the_others_their_intervals():
    made = grid("census", runs("hps", sum=PLAIN, uw=[(math.nan, 20), (81, 20)], gls=SAME))
    assert made.cells["hps", "uw"].effect is None and math.isnan(made.cells["hps", "uw"].gain)
    assert made.cells["hps", "gls"].effect is not None


def test_libmtl_stands_beside_ours():
    """EW to CAGrad on HPS: 54.10 to 53.77, .3771 to .3836, 23.53 to 22.53."""
    theirs, made = published("nyuv2_libmtl"), grid("nyuv2_libmtl", [])
    assert len(theirs) == 95 and ("cgc", "nash-mtl") not in theirs
    gain = 100 / 3 * (53.77 / 54.10 - 1 + 1 - 0.3836 / 0.3771 + 1 - 22.53 / 23.53)
    assert made.cells["hps", "cagrad"].their_gain == pytest.approx(gain)
    assert len(made.methods) == 8 and len(made.balancings) == 13
    assert made.balancings[0] == "sum" and "  LibMTL" in str(made)
    assert max(map(len, str(made).splitlines())) <= 100


def test_on_the_command_line(tmp_path, capsys):
    for run in runs("hps", sum=PLAIN, uw=SAME):
        records.write(f"census/hps-{run['seed']}-{run['balance']}", run, tmp_path)
    odd = record("hps", "uw", 0, 1, 2, settings={"balance": "uw", "balance.lr": 1})
    records.write("census/odd", odd, tmp_path)
    assert main(["table", "G", "census", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "Census-Income: balancings" in shown.out and "81.33" in shown.out
    assert "--set balance.lr=1 --results " in shown.err and "no saved run" not in shown.err
    assert main(["table", "G", "--results", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "54.10" in shown.out and "no saved run of nyuv2_libmtl" in shown.err
    assert main(["table", "g", "census", "--results", str(tmp_path), "--set", "n=9"]) == 0
    shown = capsys.readouterr()
    assert not shown.out and "with these settings and a balancing" in shown.err
    assert f"python -m tssbn table G census --results {tmp_path}\n" in shown.err
    assert main(["table", "G", "--set", "balance=uw"]) == 1
    assert "table G shows all balancings" in capsys.readouterr().err
    assert main(["table", "1", "census"]) == 1
    assert "table 1 takes no second name, got 'census'" in capsys.readouterr().err
    assert main(["table", "G", "--best"]) == 1
    assert "table G has no --best" in capsys.readouterr().err
