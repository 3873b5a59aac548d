"""Networks beside the saved runs: written from a checkpoint, or published."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning_fabric")
pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")

import tiny

from tssbn import records
from tssbn.training import checkpoint
from tssbn.training.batches import BatchLoader
from tssbn.training.epoch import evaluate
from tssbn.training.loop import train
from tssbn.training.run import Run


def trained(run, **more):
    return train(run, folder=f"runs/{run.name}", accelerator="cpu", **more)


def edit(run, change):
    """Write another checkpoint in the place of a run's."""
    state = checkpoint.load(Path("runs", run.name))
    change(state)
    checkpoint.save(Path("runs", run.name), state)


def scores(net, run):
    """The first metric of each task on the test images."""
    data = run.benchmark.data("test", run.benchmark.folder())
    rows = torch.arange(len(data)).split(1000)
    batches = BatchLoader(data, torch.device("cpu"), run.benchmark.scale)(rows)
    found = evaluate(net, run.benchmark.tasks(data.targets), batches)
    return {task: next(iter(of_task.values())) for task, of_task in found.items()}


@pytest.mark.parametrize(
    "method", ["stl", "hps", "cross-stitch", "tsbn", "tssbn", "shuffled-gates"]
)
def test_a_network_comes_back_in_half_precision(folder, method):
    if method == "shuffled-gates":  # whose start reads another run, and whose weights are all here
        trained(tiny.run("tssbn"))
        records.write("tiny/tssbn-0", train(tiny.run("tssbn")).record)
    run = tiny.run(method)
    net = trained(run).net
    path = records.save_network(run.benchmark, method)
    assert path.resolve() == folder / f"tiny/{method}-0.pt"
    before = torch.get_rng_state()
    again = records.network(run.benchmark, method)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in again.modules())
    for name, value in net.state_dict().items():
        rounded = value.half().to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(again.state_dict()[name], rounded), name
    full, half = scores(net, run), scores(again, run)
    assert full == pytest.approx(half, rel=0.02)


def test_of_an_unfinished_run_no_network_is_written(folder):
    run = tiny.run("hps")
    with pytest.raises(FileNotFoundError):
        records.save_network(run.benchmark, "hps")
    trained(run)
    edit(run, lambda state: state["record"].update(finished=False))
    with pytest.raises(ValueError, match="tiny/hps-0 has made 3 epochs: finish it"):
        records.save_network(run.benchmark, "hps")


def test_a_file_that_is_damaged_or_of_another_run_is_refused(folder):
    run = tiny.run("hps")
    trained(run)
    path = records.save_network(run.benchmark, "hps")
    (folder / "tiny/hps-1.pt").write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="has the network of 'tiny/hps-0', not of 'tiny/hps-1'"):
        records.network(run.benchmark, "hps", seed=1)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="checksum"):
        records.network(run.benchmark, "hps")
    with pytest.raises(FileNotFoundError, match="no network of 'tiny/tssbn-0'"):
        records.network(run.benchmark, "tssbn")


def test_a_weight_that_16_bits_do_not_hold_is_refused(folder):
    run = tiny.run("hps")
    trained(run)
    edit(run, lambda state: state["net"]["trunk.4.running_var"].fill_(1e6))
    with pytest.raises(ValueError, match=r"trunk.4.running_var has values beyond 65504"):
        records.save_network(run.benchmark, "hps")


def test_a_published_network_has_the_scores_of_its_saved_run():
    run = Run("census", "tssbn")
    saved = records.of("census", "tssbn", [0])[0]["epochs"][-1]["test"]
    first = {task: next(iter(of_task.values())) for task, of_task in saved.items()}
    found = scores(records.network("census", "tssbn"), run)
    assert found == pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize("method", ["hps", "tsbn", "tssbn"])
def test_published_networks_score_on_some_images_as_their_saved_run(method):
    saved = records.of("rooms", method, [0])[0].scores()
    few = Run("rooms", method, settings={"n": 240})  # a quarter is tested: the first of all
    found = scores(records.network("rooms", method), few)
    assert found == pytest.approx(saved, rel=0.15)
