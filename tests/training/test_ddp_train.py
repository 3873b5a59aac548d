"""Two processes train as one does, where the mathematics says so."""

import json
import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("lightning_fabric")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

import decayed
import forks
import tiny
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tssbn.training import checkpoint
from tssbn.training.balancing import BALANCINGS
from tssbn.training.loop import train

OWN = {"logarithms": "logarithms"}  # a balancing that is not linear in the losses


@pytest.fixture(autouse=True)
def own_balancing(monkeypatch):
    for name, module in OWN.items():
        monkeypatch.setitem(BALANCINGS, name, module)


def balanced(name, method="tssbn", **options):
    settings = {"balance": name, **{f"balance.{key}": value for key, value in options.items()}}
    return tiny.run(method, nn.GroupNorm, settings=settings, lr=0.01)


# Without statistics of a batch every image counts by itself, and two halves make a whole.
RUNS = {
    "one pass": lambda: tiny.run("tssbn", nn.GroupNorm),
    "a pass for each task": lambda: tiny.run("tssbn", nn.GroupNorm, tasks_per_pass=1),
    "one trunk": lambda: tiny.run("hps", nn.GroupNorm),
    "a network for each task": lambda: tiny.run("stl", nn.GroupNorm),
    "experts": lambda: tiny.run("mmoe", nn.GroupNorm),
    "experts in stages": lambda: tiny.run("ple", nn.GroupNorm, settings={"shared_gate": True}),
    "selected experts": lambda: tiny.run("dselect-k", nn.GroupNorm, settings={"entropy": 1.0}),
    "logarithms": lambda: balanced("logarithms", "hps"),
    "uncertainty weighting": lambda: balanced("uw"),
    "orthogonal gradients": lambda: balanced("cosreg", alpha=0.1),
    "surgery on gradients": lambda: balanced("pcgrad", "hps"),
    "surgery on gradients, a pass for each task": lambda: balanced("pcgrad"),
    "impartial gradients of scaled losses": lambda: balanced("imtl", "hps"),
    "a second forward pass": lambda: balanced("famo", "hps"),
    "an end of the epoch": lambda: balanced("dwa"),
    "lengths of gradients": lambda: balanced("gradnorm", "hps"),
    "signs of gradients": lambda: balanced("graddrop"),
    "smooth gradients": lambda: balanced("db-mtl"),
    "a penalty": lambda: tiny.run(decayed.METHOD, nn.GroupNorm, lr=0.01),
    "a short gradient": lambda: tiny.run("hps", nn.GroupNorm, clip=0.05),
    "batch statistics": lambda: tiny.run("tssbn"),
    "batch statistics, at rest": lambda: tiny.run("tssbn", lr=1e-30),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes of torchrun leave of every run."""
    folder = tmp_path_factory.mktemp("ddp")
    assert forks.run(launch, folder) == 0
    return folder


def launch(folder):
    """What ``torchrun --standalone --nproc-per-node=2`` does, of processes that are forked."""
    # Python 3.12 warns of the launcher's threads, none of which the processes use.
    warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
    fork = "fork" if sys.platform == "linux" else "spawn"
    way = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "max_restarts": 0}
    elastic_launch(LaunchConfig(1, 1, 2, start_method=fork, **way), program)(folder)


def results(folder, name):
    """Network and record of both processes."""
    states = [torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1)]
    records = [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]
    return states, records


if find_spec("torchjd") is None:
    WITH = "surgery", "impartial"  # need it
    RUNS = {name: run for name, run in RUNS.items() if not name.startswith(WITH)}
WHOLE = [name for name in RUNS if not name.startswith("batch statistics")]


@pytest.mark.parametrize("name", RUNS)
def test_both_processes_hold_the_same_network(folder, name):
    (one, other), records = results(folder, name)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert all(value.isfinite().all() for value in one.values())
    assert records[0]["epochs"][-1]["test"] == records[1]["epochs"][-1]["test"]
    assert records[0]["devices"] == 2 and records[0]["finished"]


@pytest.mark.parametrize("name", WHOLE)
def test_two_processes_are_one_with_the_joint_batch(folder, name):
    (state, _), (record, _) = results(folder, name)
    net, alone = train(RUNS[name](), accelerator="cpu")
    torch.testing.assert_close(state, net.state_dict(), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(record["epochs"], alone["epochs"], strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-5)
        assert ours.get("penalty", 0) == pytest.approx(theirs.get("penalty", 0), rel=1e-5)
        for task, values in theirs["test"].items():
            assert ours["test"][task] == pytest.approx(values, rel=1e-4)


def test_every_part_is_normalised_by_itself(folder):
    """Not by what both processes see, as SyncBatchNorm would; the running mean is that of both."""
    (state, _), _ = results(folder, "batch statistics, at rest")
    alone = train(RUNS["batch statistics, at rest"](), accelerator="cpu").net.state_dict()
    torch.testing.assert_close(state["trunk.1.running_mean"], alone["trunk.1.running_mean"])
    assert (state["trunk.1.running_var"] - alone["trunk.1.running_var"]).abs().max() > 1e-4


def test_the_first_process_alone_keeps_the_checkpoint(folder):
    assert checkpoint.load(folder / "run")["record"]["devices"] == 2
    assert not list((folder / "run").glob("*.part"))


def test_an_error_of_the_first_process_reaches_all(folder):
    for rank in 0, 1:
        assert "is the checkpoint of an earlier start" in (folder / f"error-{rank}").read_text()
        assert "another process trains in" in (folder / f"locked-{rank}").read_text()


def program(folder: Path) -> None:
    rank = os.environ["RANK"]
    BALANCINGS.update(OWN)
    torch.set_num_threads(1)
    for name, run in RUNS.items():
        trained = train(run(), accelerator="cpu")
        torch.save(trained.net.state_dict(), folder / f"{name}-{rank}.pt")
        (folder / f"{name}-{rank}.json").write_text(json.dumps(trained.record))
    train(tiny.run(), folder / "run", accelerator="cpu")
    try:
        train(tiny.run(), folder / "run", accelerator="cpu")
    except ValueError as error:
        (folder / f"error-{rank}").write_text(str(error))
    with checkpoint.lock(folder / "other" / rank):  # of the first, what the run would take
        try:
            train(tiny.run(), folder / "other" / "0", accelerator="cpu")
        except BlockingIOError as error:
            (folder / f"locked-{rank}").write_text(str(error))
