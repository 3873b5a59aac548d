"""Activations that are computed again."""

import copy
import pickle

import pytest
import torch
from torch import nn

pytest.importorskip("timm")

from timm.models.resnet import BasicBlock, ResNet

import tssbn
from tssbn import export
from tssbn.methods.ablations import affine
from tssbn.networks.segnet import SegNet
from tssbn.recomputation import Recomputed

TASKS = ("seg", "depth", "normal")


def resnet():
    """ResNet-18 of an eighth of the width."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes=4, channels=(8, 16, 32, 64))


def network(trunk, **options):
    torch.manual_seed(0)
    trunk = tssbn.task_specific(trunk.double(), TASKS, **options)
    for name, parameter in trunk.named_parameters():
        if name.endswith("gamma"):
            nn.init.normal_(parameter)
    return tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS})


def trunk_and_parts(name):
    if name == "resnet":
        return resnet(), ["layer1", "layer2.0", "layer4"]
    return SegNet(2), [f"{side}.{i}" for side in ("encoder", "decoder") for i in range(5)]


def kept(net, x):
    """Bytes that the graph of a forward pass keeps, each storage once."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = net(x)
    return sum(storages.values()), outputs


@pytest.mark.parametrize("name", ["resnet", "segnet"])
@pytest.mark.parametrize("stem", [False, True])
@pytest.mark.parametrize("size", [None, 1, 2])
def test_what_is_learned_stays_the_same(name, stem, size):
    trunk, parts = trunk_and_parts(name)
    net, x = network(trunk), torch.rand(4, 3, 32, 32, dtype=torch.float64)
    if stem:
        net.share_stem(x)
    net.tasks_per_pass = size
    other = copy.deepcopy(net)
    tssbn.recompute(other.trunk, parts)
    for each in net, other:
        sum(y.square().sum() for y in each(x).values()).backward()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-12, atol=1e-12)
    for one, two in zip(net.buffers(), other.buffers(), strict=True):
        assert torch.equal(one, two)  # each batch was tracked once


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_updated_once_where_tasks_run_one_by_one(momentum):
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU())
    net, x = network(nn.Sequential(block)), torch.rand(2, 3, 4, 4, dtype=torch.float64)
    other = copy.deepcopy(net)
    tssbn.recompute(other.trunk, ["0"])
    for each in net, other:
        sum(y.square().sum() for y in each(x, ("seg", "normal")).values()).backward()
    for one, two in zip(net.buffers(), other.buffers(), strict=True):
        assert torch.equal(one, two)


def test_less_is_kept():
    trunk, parts = trunk_and_parts("segnet")
    net, x = network(trunk), torch.rand(2, 3, 64, 64, dtype=torch.float64)
    other = copy.deepcopy(net)
    tssbn.recompute(other.trunk, parts)
    assert kept(other, x)[0] < 0.4 * kept(net, x)[0]


def test_dropout_draws_the_same_again():
    block = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Dropout(0.5), nn.Linear(6, 6))
    net, x = network(nn.Sequential(block)), torch.rand(4, 6, dtype=torch.float64)
    other = copy.deepcopy(net)
    tssbn.recompute(other.trunk, ["0"])
    for each in net, other:
        torch.manual_seed(1)
        sum(y.square().sum() for y in each(x).values()).backward()
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_it_is_copied_pickled_and_saved():
    trunk, parts = trunk_and_parts("resnet")
    net, x = network(trunk), torch.rand(2, 3, 32, 32, dtype=torch.float64)
    names = list(net.state_dict())
    tssbn.recompute(net.eval().trunk, parts)
    assert list(net.state_dict()) == names
    memory, outputs = kept(net, x)
    for twin in copy.deepcopy(net), pickle.loads(pickle.dumps(net)):
        of_twin, same = kept(twin, x)
        assert of_twin == memory
        assert all(torch.equal(same[task], outputs[task]) for task in TASKS)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["layer9"], "has no module 'layer9'"),
        (["layer1", "layer1.0"], "'layer1.0' is chosen twice"),
        (["layer1", "layer1"], "'layer1' is chosen twice"),
        (["layer1.0.bn1"], "'layer1.0.bn1' is a single layer"),
    ],
)
def test_bad_parts_are_refused(parts, message):
    net = network(resnet())
    with pytest.raises(ValueError, match=message):
        tssbn.recompute(net.trunk, parts)


def test_parts_are_recomputed_once():
    net = network(resnet())
    tssbn.recompute(net.trunk, ["layer1"])
    with pytest.raises(ValueError, match=r"'layer1' is recomputed already"):
        tssbn.recompute(net.trunk, ["layer1"])


def test_parts_that_are_never_called_are_refused():
    net = network(SegNet(2))
    with pytest.raises(ValueError, match="'encoder' is a ModuleList, which is never called"):
        tssbn.recompute(net.trunk, ["encoder"])
    with pytest.raises(ValueError, match="names='encoder' is one string"):
        tssbn.recompute(net.trunk, "encoder")


def test_trunks_that_share_statistics_are_refused():
    with pytest.raises(ValueError, match="0 sets of task-specific layers"):
        tssbn.recompute(resnet(), ["layer1"])
    net = network(resnet(), norm=affine)
    with pytest.raises(ValueError, match="statistics that the tasks share"):
        tssbn.recompute(net.trunk, ["layer1"])
    norms = nn.LayerNorm(4), nn.InstanceNorm1d(4, track_running_stats=True)
    trunk = nn.Sequential(nn.Sequential(*norms))
    net = network(trunk, where=lambda name, layer: isinstance(layer, nn.LayerNorm))
    with pytest.raises(ValueError, match=r"'0.1', a InstanceNorm1d, has statistics that the tasks"):
        tssbn.recompute(net.trunk, ["0"])


def test_what_is_exported_recomputes_nothing():
    trunk, parts = trunk_and_parts("segnet")
    net, x = network(trunk), torch.rand(2, 3, 32, 32, dtype=torch.float64)
    tssbn.recompute(net.trunk, parts)
    expected = net.eval()(x)
    single = export.task(net, "depth")
    tree = export.branches(net, {"encoder.2.0.1": tuple((task,) for task in TASKS)})
    for model in single, tree:
        assert not any(isinstance(module, Recomputed) for module in model.modules())
    torch.testing.assert_close(single(x), expected["depth"])
    assert list(tree(x)) == list(TASKS)
    assert isinstance(net.trunk.encoder[0], Recomputed)
