"""What SLURM and `devices` say of the number of processes."""

import pytest

pytest.importorskip("lightning_fabric")

from tssbn.training.devices import make_fabric


@pytest.mark.parametrize(
    ("variables", "devices", "message"),
    [
        ({}, 1, "SLURM has 4 tasks: ask for them by --ntasks-per-node"),
        ({"SLURM_NTASKS_PER_NODE": "2"}, 4, "devices=4, but SLURM has 2 tasks on each node"),
        ({"SLURM_NTASKS": "1"}, 2, "devices=2, but SLURM has 1 tasks on each node"),
    ],
)
def test_what_slurm_does_not_tell_is_asked_for(monkeypatch, variables, devices, message):
    for name, value in {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        make_fabric("cpu", devices, "32")
