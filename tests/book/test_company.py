"""Which attributes come together: the numbers, and the record."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from tssbn.data.real.celeba import ATTRIBUTES

STUDY = runpy.run_path(str(Path(__file__).resolve().parents[2] / "book/studies/company.py"))


def test_frequencies_and_correlations():
    labels = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1]], float)
    found = STUDY["company"](labels)
    assert found["images"] == 4 and found["frequency"] == [0.5, 0.5, 0.5, 1.0]
    assert found["correlation"] == [0.0, 0.0, 0.0, -1.0, 0.0, 0.0]  # 01 02 03 12 13 23


def test_the_record(tmp_path, monkeypatch, capsys):
    root, names = tmp_path / "celeba", ["000001.jpg", "000002.jpg", "000003.jpg"]
    for folder in ("Img/img_align_celeba", "Anno", "Eval"):
        (root / folder).mkdir(parents=True)
    signs = np.ones((3, 40), int)
    signs[1, 1:] = -1
    rows = [f"{n} " + " ".join(map(str, row)) for n, row in zip(names, signs, strict=True)]
    text = "\n".join(["3", " ".join(ATTRIBUTES), *rows])
    (root / "Anno/list_attr_celeba.txt").write_text(text + "\n")
    parts = zip(names, (0, 0, 2), strict=True)
    (root / "Eval/list_eval_partition.txt").write_text("".join(f"{n} {p}\n" for n, p in parts))
    for name in names:
        Image.new("RGB", (4, 4)).save(root / "Img/img_align_celeba" / name)
    assert STUDY["main"](["--data", str(root), "--results", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "company/celeba.json").read_text())
    assert record["images"] == 2 and len(record["correlation"]) == 40 * 39 / 2
    assert record["frequency"][:2] == [1.0, 0.5] and record["tasks"] == list(ATTRIBUTES)
    monkeypatch.chdir(tmp_path / "company")
    monkeypatch.delenv("TSSBN_DATA", raising=False)
    with pytest.raises(SystemExit):
        STUDY["main"]([])
    assert "--data ROOT" in capsys.readouterr().err
