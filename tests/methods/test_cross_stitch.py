"""Cross-stitch networks are those of STL, mixed between stages by units that are learned."""

from functools import partial

import pytest
import torch
from torch import nn

pytest.importorskip("timm")
pytest.importorskip("torchvision")

from timm.models.resnet import BasicBlock, ResNet
from trunks import Times

from tssbn.cost import macs, parameters
from tssbn.methods import Network, find_method
from tssbn.methods.cross_stitch import CrossStitch
from tssbn.networks.celeba import CelebANet
from tssbn.networks.deeplab import DeepLabHead, dilated_resnet
from tssbn.networks.segnet import SegNet, SegNetHead

STL, CROSS = find_method("stl").build, find_method("cross-stitch").build
SEGNET = Network(partial(SegNet, 4), partial(SegNetHead, width=4), torch.rand(2, 3, 32, 64))
DEEPLAB = Network(
    partial(dilated_resnet, (1, 2, 1, 1), (4, 4, 8, 8)),
    partial(DeepLabHead, inputs=32, width=4),
    torch.rand(2, 3, 32, 64),
)
CELEBA = Network(partial(CelebANet, 4), partial(nn.Linear, 32), torch.rand(2, 3, 64, 64))
CLASSIFIER = Network(  # another ResNet of timm: with a pooling and a last layer in the trunk
    partial(ResNet, BasicBlock, (1, 1, 1, 1), num_classes=5, channels=(4, 8, 8, 8)),
    partial(nn.Linear, 5),
    torch.rand(2, 3, 32, 64),
)
NETWORKS = {"segnet": SEGNET, "deeplab": DEEPLAB, "celeba": CELEBA, "classifier": CLASSIFIER}
OUTPUTS = {"a": 13, "b": 1, "c": 3}
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def both(network, outputs=OUTPUTS):
    """The networks of STL and of cross-stitch from one seed."""
    torch.manual_seed(1)
    single = STL(network, outputs)
    torch.manual_seed(1)
    return single, CROSS(network, outputs)


def set_units(net, value):
    net.units = nn.ParameterList(value.clone() for _ in net.units)


def nonzero(value):
    return value is not None and bool((value != 0).any())


@every_network
def test_identity_units_are_single_task_networks(network):
    single, net = both(network)
    set_units(net, torch.eye(3)[:, :, None])
    for _ in range(2):  # training mode, then with the statistics that this has left
        expected, got = single(network.example), net(network.example)
        assert all(torch.equal(got[task], expected[task]) for task in OUTPUTS)
        single.eval(), net.eval()
    left = net.networks.state_dict()
    assert left.keys() == single.networks.state_dict().keys()
    assert all(torch.equal(left[k], v) for k, v in single.networks.state_dict().items())


@every_network
def test_one_task_is_a_single_task_network(network):
    single, net = both(network, {"a": 3})
    assert torch.equal(net(network.example)["a"], single(network.example)["a"])


@every_network
def test_a_reader_of_one_source_alone_is_that_source(network):
    """Task a reads its own only; so do b and c read a's, and with its trunk have its features."""
    single, net = both(network)
    set_units(net, torch.tensor([[1.0, 0.0, 0.0]] * 3)[:, :, None])
    x = network.example
    assert torch.equal(net(x)["a"], single(x)["a"])
    for trunk, _ in net.networks.values():
        trunk.load_state_dict(net.networks["a"][0].state_dict())
    net.eval(), single.eval()
    features = net.networks["a"][0](x)
    assert all(torch.equal(net(x)[task], net.networks[task][1](features)) for task in OUTPUTS)


def by_hand(unit):
    """Stages give 2x and 3x, then squares; the image is (1, 10) in two channels."""
    nets = {
        task: nn.Sequential(nn.Sequential(Times(factor), Times(1)), Times(power))
        for task, factor, power in (("a", 2, 1), ("b", 3, -1))
    }
    given = CrossStitch(nets, [unit])(torch.tensor([[1.0, 10.0]]))
    return given["a"].tolist(), given["b"].tolist()


def test_mixing_by_hand():
    matrix = torch.tensor([[1.0, 10.0], [0.5, 4.0]])[:, :, None]
    assert by_hand(matrix) == ([[2 + 30.0, 20 + 300.0]], [[-(1 + 12.0), -(10 + 120.0)]])
    same_for_all = torch.tensor([[1.0, 10.0]])[:, :, None]
    assert by_hand(same_for_all) == ([[32.0, 320.0]], [[-32.0, -320.0]])
    channels = torch.tensor([[[1.0, 0.0], [10.0, 1.0]], [[0.0, 2.0], [4.0, 0.0]]])
    assert by_hand(channels) == ([[32.0, 30.0]], [[-12.0, -40.0]])


def test_units_of_each_network():
    segnet = CROSS(SEGNET, OUTPUTS).units
    assert [tuple(unit.shape) for unit in segnet] == [(1, 3, 1)] * 9
    deeplab = CROSS(DEEPLAB, OUTPUTS).units
    assert [tuple(unit.shape) for unit in deeplab] == [(3, 3, 1)] * 3
    assert all((unit == 1).all() for unit in (*segnet, *deeplab))
    celeba = CROSS(CELEBA, OUTPUTS).units
    assert [tuple(unit.shape) for unit in celeba] == [(3, 3, c) for c in (4, 8, 16, 32)]
    for unit in celeba:
        assert torch.allclose(unit.sum(1), torch.ones(()))
        assert torch.allclose(unit.diagonal().T, torch.tensor(0.9 + 0.1 / 3))


def test_segnet_tasks_read_one_tensor():
    """So two tasks with the same networks predict the same, whatever the units."""
    _, net = both(SEGNET, {"a": 3, "b": 3, "c": 3})
    net.networks["b"].load_state_dict(net.networks["a"].state_dict())
    for unit in net.units:
        nn.init.uniform_(unit)
    given = net(SEGNET.example)
    assert torch.equal(given["a"], given["b"])
    assert not torch.equal(given["a"], given["c"])


@every_network
def test_a_loss_of_one_task_reaches_units_and_all_trunks_but_their_last_stages(network):
    _, net = both(network)
    net.double()
    net(network.example.double(), ["b"])["b"].square().sum().backward()
    for unit in net.units:
        readers = 1 if unit.shape[0] == 3 else 0
        assert (unit.grad[readers] != 0).any(-1).all()
    assert all(nonzero(next(trunk.parameters()).grad) for trunk, _ in net.networks.values())
    last = {task: list(trunk.parameters())[-1].grad for task, (trunk, _) in net.networks.items()}
    if network is not SEGNET:  # its last parameter is not of its last stage
        assert (nonzero(last["a"]), nonzero(last["b"]), nonzero(last["c"])) == (False, True, False)
    assert all(p.grad is None for p in net.networks["a"][1].parameters())


FULL = {  # network, tasks, parameters, #P
    "segnet": (
        Network(SegNet, SegNetHead, torch.empty(2, 3, 96, 128)),
        OUTPUTS,
        74_941_804,
        "1.00",
    ),
    "cityscapes": (
        Network(dilated_resnet, DeepLabHead, torch.empty(2, 3, 96, 128)),
        {"segmentation": 19, "parts": 10, "disparity": 1},
        118_908_126 + 3 * 9,
        "1.00",
    ),
    "celeba": (
        Network(CelebANet, partial(nn.Linear, 512), torch.empty(2, 3, 64, 64)),
        {f"attribute {i}": 1 for i in range(40)},
        207_086_120 + 40 * 40 * (64 + 128 + 256 + 512),
        "1.01",
    ),
}


@pytest.mark.parametrize("name", FULL)
def test_parameters_of_the_published_networks(name):
    """#P as in table 1."""
    network, outputs, count, ratio = FULL[name]
    with torch.device("meta"):
        single, net = STL(network, outputs), CROSS(network, outputs)
    assert parameters(net) == count
    assert f"{count / parameters(single):.2f}" == ratio


@every_network
def test_units_scale_features_and_multiply_nothing_else(network):
    single, net = both(network)
    assert macs(net, network.example) == macs(single, network.example)


@every_network
def test_some_tasks_alone_are_as_among_all(network):
    _, net = both(network)
    net.eval()
    together, some = net(network.example), net(network.example, ["c", "a"])
    assert list(together) == list(OUTPUTS) and list(some) == ["a", "c"]
    assert all(torch.equal(some[task], together[task]) for task in some)


def test_all_tasks_are_one_chunk():
    net = CROSS(CELEBA, OUTPUTS)
    assert net.tasks == ("a", "b", "c")
    assert list(net.passes()) == [("a", "b", "c")]


def test_what_cannot_be_built_or_run():
    plain = Network(nn.Identity, nn.Identity, torch.rand(2, 3, 4, 4))
    with pytest.raises(
        TypeError, match=r"type Identity are not known: give it a method forward_stages"
    ):
        CROSS(plain, OUTPUTS)
    with pytest.raises(ValueError, match="name at least one task"):
        CROSS(CELEBA, {})
    with pytest.raises(ValueError, match=r"unknown tasks \['d'\]"):
        CROSS(CELEBA, OUTPUTS)(CELEBA.example, ["d"])
