"""The list of the paper's claims, with whatever runs there are."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("torchvision")
pytest.importorskip("timm")
pytest.importorskip("lightning_fabric")

from arms import write

from tssbn.claims import BedOfRuns, Claim, count, table, unrun
from tssbn.claims.arms import all_arms
from tssbn.claims.paper import PARTS, claims
from tssbn.claims.paper import tables_3_4 as small
from tssbn.claims.paper.table_1 import precision

BOOK = Path(__file__).resolve().parents[2] / "book"


@pytest.fixture(scope="module")
def listed():
    return claims()


def test_every_row_has_a_part_a_bed_and_a_chapter_that_exists(listed):
    for claim in listed:
        assert claim.part and claim.where, claim
        assert (BOOK / f"{claim.chapter}.py").exists(), claim


def test_no_row_is_there_twice(listed):
    rows = [(claim.part, claim.text, claim.where) for claim in listed]
    assert len(set(rows)) == len(rows)


def test_arms_are_those_of_the_evidence(listed):
    for claim in listed:
        if isinstance(claim.evidence, BedOfRuns):
            than = claim.than if isinstance(claim.than, tuple) else (claim.than,)
            named = {claim.arm, *than, claim.null} - {""}
            assert named <= set(claim.evidence.arms), claim


def test_the_words_sum_to_the_rows(listed):
    words = count(listed)
    assert sum(words.values()) == len(listed)
    for word, times in words.items():
        assert sum(len(rows) for _, rows in table(listed, word).groups) == times
    assert unrun(listed).count("\n") < words["not run"]


def test_the_package_of_claims_does_not_import_those_of_the_paper():
    script = "import sys, tssbn.claims; print(any('claims.paper' in name for name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "False", found.stderr


def test_a_part_is_found_by_its_name():
    assert {claim.part for claim in claims("table_2")} == {"Table 2: pretrained networks"}
    assert len(PARTS) == len(set(PARTS))


def test_without_any_run_nothing_is_judged_but_what_is_counted(folder, monkeypatch):
    fresh = all_arms("rooms", "rooms", stages=7, without=["MTAN"])
    monkeypatch.setattr("tssbn.claims.paper.table_2.ROOMS", fresh)
    assert set(count(claims("table_2"))) == {"supported", "contradicted", "undecided", "not run"}
    of_rooms = [claim for claim in claims("table_2") if claim.evidence is fresh]
    assert of_rooms and {claim.verdict().word for claim in of_rooms} == {"not run"}


def test_a_seed_more_breaks_nothing_and_is_counted(folder, monkeypatch):
    rng = np.random.default_rng(0)
    for seeds in (2, 3):
        bed = BedOfRuns(small.DIGITS.title, "digits", small.DIGITS.arms)
        for arm in bed.arms:
            for seed in range(seeds):
                gain = 0.1 * (arm == "TSσBN") + 0.002 * rng.normal()
                write(folder, bed, arm, seed, (0.5 + gain, 0.4))
        monkeypatch.setattr(small, "DIGITS", bed)
        run = [claim for claim in small.claims() if claim.evidence is bed]
        assert {claim.verdict().word for claim in run} == {"supported"}
        assert {claim.verdict().effect.n for claim in run} == {(seeds, seeds)} and len(run) == 6


def test_of_an_adaptation_the_source_is_the_random_unit(folder):
    arms = {str(source): ("bitfit", {"source": source} if source else {}) for source in range(3)}
    bed = BedOfRuns("digits", "adapt", arms)
    for source, gain in enumerate((0.0, 0.1, 0.2)):
        for seed, shift in enumerate((-0.01, 0.01)):
            write(folder, bed, str(source), seed, (0.5 + gain + shift, 0.3 + gain + shift))
    assert small.adapted("bitfit").values["bitfit"] == pytest.approx([40.0, 50.0, 60.0])
    assert small.adapted("lora").values["lora"] == []
    some = BedOfRuns("digits", "adapt", {"0": ("lora", {}), "2": ("lora", {"source": 2})})
    for source in some.arms:
        write(folder, some, source, 0, (0.5, 0.5))
    values = small.adapted("bitfit", "lora").values
    assert values["bitfit"] == pytest.approx([40.0, 60.0]) and values["lora"] == [50.0, 50.0]


def test_runs_of_words_are_paired_by_their_seeds(folder):
    bed = BedOfRuns("words", "treebank", {"own": ("tssbn-frozen", {}), "other": ("lora", {})})
    for arm, seeds in {"own": (0, 1, 2, 4), "other": (1, 2, 3, 4)}.items():
        for seed in seeds:
            write(folder, bed, arm, seed, (0.1 * seed, 0.1 * seed + 0.2 * (arm == "own")))
    found = small.labelled("tssbn-frozen", "lora")
    assert found.values["lora"] == pytest.approx([10.0, 20.0, 40.0])
    effect = found.against("tssbn-frozen", "lora")["lora"]
    assert (effect.value, effect.n) == (pytest.approx(10.0), (3,))
    none = small.labelled("tssbn-frozen", "lora", "shared-gates-frozen")
    assert none.against("tssbn-frozen", "lora") == {"lora": None}


def test_average_precision_is_of_the_last_epoch(folder):
    bed = BedOfRuns("faces", "faces", {"HPS": ("hps", {})})
    for seed in (0, 1):
        epochs = [
            {
                "epoch": epoch,
                "val": {task: {"f1": f1} for task in "ab"},
                "test": {
                    "a": {"f1": 0.5, "average_precision": 0.1 * epoch + 0.01 * seed},
                    "b": {"f1": 0.5, "average_precision": 0.3},
                },
            }
            for epoch, f1 in ((1, 0.4), (2, 0.6), (3, 0.5))
        ]
        record = {
            "benchmark": "faces",
            "method": "hps",
            "seed": seed,
            "recipe": {"report": "val"},
            "metric": {"a": "f1", "b": "f1"},
            "directions": {"a": True, "b": True},
            "epochs": epochs,
        }
        path = folder / f"faces/hps-{seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
    assert precision(bed, "HPS").values["HPS"] == pytest.approx([30.0, 30.5])
    claim = Claim("more than 20", precision(bed, "HPS"), "HPS", 20.0)
    assert claim.verdict().word == "supported"
