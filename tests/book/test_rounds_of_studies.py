"""What studies of time take on their command line."""

import pytest
from studies import script

rounds = script("rounds")


def test_two_rounds_are_the_least(capsys):
    assert vars(rounds.parser("", 7).parse_args([])) == {"rounds": 7, "folder": None}
    assert rounds.parser("", 7).parse_args(["--rounds", "2"]).rounds == 2
    with pytest.raises(SystemExit):
        rounds.parser("", 7).parse_args(["--rounds", "1"])
    assert "--rounds: 1 must be 2 or more" in capsys.readouterr().err


def test_a_step_has_a_task(monkeypatch):
    pytest.importorskip("lightning_fabric")
    pytest.importorskip("timm")
    pytest.importorskip("torchmetrics")
    cost = script("ddp_cost")
    monkeypatch.setattr(cost, "make_fabric", None)  # nothing is started before the check
    with pytest.raises(ValueError, match="tasks=0 must be 1 or more"):
        cost.main(tasks=0)
