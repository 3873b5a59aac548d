"""The parameters of tables 3 and 4, built at full size."""

import pytest

pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")

from tssbn.__main__ import main
from tssbn.benchmarks.counts import TABLES, count, rows
from tssbn.methods import METHODS

# All that is trained, decoders included; a frozen trunk beside which nothing is, but for MTLoRA.
SWIN = {
    "stl": 112_017_896,
    "hps": 29_464_442,
    "hyperformer": 74_717_392,
    "adapter": 10_616_960,
    "polyhistor": 8_360_272,
    "mtlora": 4_953_146,
    "mtlora+": 3_148_346,
    "vpt-deep": 2_829_824,
    "vpt-shallow": 1_965_824,
    "lora": 2_229_248,
    "bitfit": 2_245_736,
    "compacter": 2_177_408,
    "compacter++": 2_062_016,
    "vl-adapter": 4_137_440,
    "tssbn-frozen": 3_615_866,
    "tssbn-lora": 4_786_106,
}
VIT = {
    "hps": 29_257_762,
    "tsbn": 29_346_850,
    "tssbn": 29_291_170,
    "m3vit": 50_737_954,
    "mod-squad": 60_349_090,
    "taskexpert": 37_356_250,
    "mlore": 42_176_534,  # the published code has a position more, of the class token
}
CASES = [("4", m, n) for m, n in SWIN.items()] + [("3", m, n) for m, n in VIT.items()]


@pytest.mark.parametrize(("name", "method", "expected"), [c for c in CASES if c[1] in METHODS])
def test_what_is_built(name, method, expected):
    table = TABLES[name]
    found = [(row.beside, row.options) for row in table.rows if row.method == method]
    beside, options = found[0] if found else (True, {})
    assert sum(count(method, table, beside, **options)) == expected


@pytest.mark.parametrize("name", TABLES)
def test_what_meets_a_printed_number_rounds_to_it(name):
    for row in TABLES[name].rows:
        if row.fit == "none":
            assert row.trunk is row.decoders is None
        else:
            digits = 2 if name == "4" else 0
            assert round((row.trunk + row.decoders) / 1e6, digits) == row.printed, row.method


def test_rows_are_counted_where_the_method_is_here(monkeypatch):
    monkeypatch.delitem(METHODS, "tsbn")
    counted = {each.row.method: each for each in rows(TABLES["3"])}
    assert counted["tsbn"].trunk is None and counted["tsbn"].title == "tsbn"
    assert counted["tssbn"].trunk + counted["tssbn"].decoders == VIT["tssbn"]


def test_the_command(capsys):
    assert main(["counts", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "PASCAL-Context, ViT-S/16, 5 tasks"
    (row,) = (line for line in lines if line.startswith("| TSσBN "))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1:6] == ["27,622,848", "1,668,322", "29.29", "29", "27,622,848 + 1,668,322"]
    assert not any("TSσBN" in line for line in lines if line.startswith("Swin"))
