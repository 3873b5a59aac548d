"""Every method keeps the contract of a multi-task network."""

from dataclasses import replace

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")

import tiny
from asserts import assert_is_multitask
from shallow import segnet
from transformer_methods import TRANSFORMERS_ONLY

from tssbn.methods import METHODS, Network, find_method
from tssbn.networks.celeba import CelebANet
from tssbn.networks.segnet import SegNetHead
from tssbn.networks.unet import UNet
from tssbn.training import checkpoint
from tssbn.training.devices import room_for_graphs
from tssbn.training.loop import train

OUTPUTS = {"seg": 3, "depth": 1, "normal": 3}
NETWORKS = {
    "segnet": (lambda: segnet(2, stages=3), lambda n: SegNetHead(n, 2), 16),
    "celeba": (lambda: CelebANet(2), lambda n: nn.Linear(16, n), 16),
    "unet": (lambda: UNet(2), lambda n: nn.Conv2d(2, n, 1), 16),
}


def takes(method, name):
    """Whether the method was designed for such a network."""
    return (method, name) != ("mtan", "unet") and method not in TRANSFORMERS_ONLY


def make(method, name, outputs=OUTPUTS):
    torch.manual_seed(0)
    trunk, head, size = NETWORKS[name]
    x = torch.rand(4, 3, size, size)
    network = Network(trunk, head, x)
    if method == "hps-wide":
        network = replace(network, wider=lambda times: network)
    return find_method(method).build(network, outputs), x


@pytest.mark.parametrize(
    ("method", "name"),
    [(m, n) for m in METHODS for n in NETWORKS if takes(m, n)],
)
def test_every_method_is_a_multi_task_network(method, name):
    net, x = make(method, name)
    assert_is_multitask(net, x)
    assert net.tasks == tuple(OUTPUTS) and net.tasks_per_pass is None


@pytest.mark.parametrize("method", [m for m in METHODS if takes(m, "celeba")])
def test_a_single_task_shares_nothing(method):
    net, x = make(method, "celeba", {"depth": 1})
    assert net.shared() == [] and list(net(x)) == ["depth"]


# -- what the trainer makes of it -----------------------------------------------------------------


def test_the_stem_is_part_of_the_saved_run_and_of_the_checkpoint(tmp_path, monkeypatch):
    run = tiny.run("tssbn", epochs=1)
    assert train(run).record["stem"] == ""
    stem = Network(run.benchmark.network.trunk, run.benchmark.network.head, torch.zeros(2), "3")
    declared = tiny.run("tssbn", epochs=1)
    object.__setattr__(declared.benchmark, "network", stem)
    one, other = train(declared, tmp_path), train(run)
    assert one.record["stem"] == one.net.stem == "3"
    torch.testing.assert_close(one.net.state_dict(), other.net.state_dict())  # the same is learned
    with pytest.raises(ValueError, match="stem is '3' there and '' here"):
        train(run, tmp_path, resume=True)
    assert checkpoint.load(tmp_path)["run"]["stem"] == "3"


def test_there_is_room_for_a_graph_of_each_pass():
    class Many:
        def passes(self):
            return iter([(f"t{i}",) for i in range(40)])

    from torch._dynamo import config

    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    before = getattr(config, name)
    with room_for_graphs(Many()):
        assert getattr(config, name) >= 41
    assert getattr(config, name) == before
