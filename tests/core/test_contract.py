"""Every method keeps the contract of a multi-task network."""

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")

import tiny

from tssbn import MultiTaskNetwork
from tssbn.methods import METHODS, Network, find_method
from tssbn.networks.celeba import CelebANet
from tssbn.networks.segnet import SegNet, SegNetHead
from tssbn.training import checkpoint
from tssbn.training.loop import train
from tssbn.training.processes import room_for_graphs

OUTPUTS = {"seg": 3, "depth": 1, "normal": 3}
NETWORKS = {
    "segnet": (lambda: SegNet(2), lambda n: SegNetHead(n, 2), 32),
    "celeba": (lambda: CelebANet(2), lambda n: nn.Linear(16, n), 16),
}


def make(method, name, outputs=OUTPUTS):
    torch.manual_seed(0)
    trunk, head, size = NETWORKS[name]
    x = torch.rand(4, 3, size, size)
    return find_method(method).build(Network(trunk, head, x), outputs), x


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_names_passes_and_subsets(method, name):
    net, x = make(method, name)
    assert isinstance(net, MultiTaskNetwork)
    assert net.tasks == tuple(OUTPUTS) == tuple(net(x)) == sum(net.passes(), ())
    assert list(net(x, ("depth",))) == ["depth"]
    assert net.tasks_per_pass is None


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_shared_parameters_are_those_that_more_than_one_loss_reaches(method, name):
    net, x = make(method, name)
    parameters = list(net.parameters())
    reached = [0] * len(parameters)
    for y in net(x).values():
        gradients = torch.autograd.grad(
            y.square().sum(), parameters, retain_graph=True, allow_unused=True
        )
        for i, gradient in enumerate(gradients):
            # A row of γ for each task is one tensor, of which a loss reaches its own row.
            reached[i] += gradient is not None
    shared = {id(p) for p in net.shared()}
    rows = {id(p) for n, p in net.named_parameters() if n.endswith((".gamma", ".beta"))}
    expected = {id(p) for p, n in zip(parameters, reached, strict=True) if n > 1} - rows
    assert shared == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_single_task_shares_nothing(method):
    net, x = make(method, "segnet", {"depth": 1})
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
