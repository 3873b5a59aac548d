"""Closed channels are cut out of a task's network, and nothing else changes."""

import copy
import pickle

import pytest
import torch
from asserts import ABSOLUTE
from inputs import TASKS
from plain import TRUNKS, hooks, modules_of_ours, network

from tssbn import export
from tssbn.norm import TaskSpecificNorm

CUT = [name for name in TRUNKS if name not in ("vit", "swin")]


@pytest.mark.parametrize("name", CUT)
def test_closed_channels_go_and_nothing_changes(name):
    """Half of the gates closed for good, of sums and depthwise filters whole channels."""
    pytest.importorskip("torch_pruning")
    net, x = network(name, affine="paper")  # without biases, which a closed gate lets through
    row = TASKS.index("depth")
    for layer in net.trunk.modules():
        if isinstance(layer, TaskSpecificNorm):
            closed = torch.arange(layer.num_features) % 2 == 1
            layer.gamma.data[:, closed] = 3.0
            layer.gamma.data[row, closed] = -1000.0
    small, whole = export.task(net, "depth", threshold=1e-3, example=x), export.task(net, "depth")
    expected = net(x)["depth"]
    scale = max(1, expected.abs().max().item())
    torch.testing.assert_close(small(x), expected, rtol=0, atol=ABSOLUTE["atol"] * scale)
    parameters = [sum(p.numel() for p in m.trunk.parameters()) for m in (small, whole)]
    # ResNet56 pads the channels of shortcuts: only the inner layers of its blocks lose some
    assert parameters[0] < (0.6 if name == "resnet56" else 0.5) * parameters[1]
    assert not modules_of_ours(small) and not hooks(small)
    pickle.dumps(small)
    torch.export.export(small, (x,))


def test_the_threshold_is_that_of_the_gates():
    pytest.importorskip("torch_pruning")
    net, x = network("celeba")
    layer = net.trunk.stages[1][0][1]
    layer.gamma.data[1] = torch.tensor([-1.0, -2.0, -3.0, 0.0, 1.0, 2.0, 3.0, 4.0])
    for threshold, width in {0.1: 7, 0.2: 6, 0.3: 5, 0.5: 5, 0.51: 4, 0.99: 1}.items():
        small = export.task(net, "depth", threshold, x)
        assert small.trunk.stages[1][0][0].out_channels == width
    assert small.trunk.stages[1][0][0].weight.shape[0] == 1
    reference = copy.deepcopy(net)
    for m in reference.trunk.modules():
        if isinstance(m, TaskSpecificNorm):
            gamma = m.gamma.data[1]
            best = gamma.argmax()
            off = gamma.sigmoid() < 0.3
            off[best] = False
            gamma[off] = -1000.0
    small = export.task(net, "depth", 0.3, x)
    torch.testing.assert_close(small(x), reference(x)["depth"], **ABSOLUTE)


@pytest.mark.parametrize(("name", "norm"), [("vit", "sigmoid"), ("celeba", "plain")])
def test_nothing_to_cut(name, norm):
    net, x = network(name, norm)
    with pytest.raises(ValueError, match="nothing to cut: there is no BatchNorm layer with gates"):
        export.task(net, "depth", 0.5, x)
