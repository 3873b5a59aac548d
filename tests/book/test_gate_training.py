"""The data of the animation: gates begin half open and move as the rate allows."""

import json

import pytest
import torch

pytest.importorskip("sklearn")

from studies import script


def test_gates_begin_half_open_and_move_at_most_by_the_rate():
    study = script("gate_training")
    made = study.trained(multiplier=10, steps=20)
    assert [len(gates) for gates in made["gates"]] == [32, 32, 32]  # steps 0, 10 and 20
    assert made["gates"][0] == [0.5] * 32
    gamma = torch.tensor(made["gates"][-1]).logit()
    assert 0 < gamma.abs().max() <= 20 * 10 * study.RATE + 0.02  # Adam; three digits


def test_the_file_of_the_page_has_three_whole_runs():
    study = script("gate_training")
    text = study.FILE.read_text(encoding="utf-8")
    made = json.loads(text.removeprefix("window.gateTraining = ").rstrip().rstrip(";"))
    assert [run["multiplier"] for run in made["runs"]] == list(study.MULTIPLIERS)
    assert {len(run["gates"]) for run in made["runs"]} == {study.STEPS // study.EVERY + 1}
