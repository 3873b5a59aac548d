"""Folding is exact, folds what it says, and leaves alone what it must."""

import copy
import pickle

import pytest
import torch
from asserts import ABSOLUTE
from inputs import normal
from plain import norms, stir
from torch import nn

import tssbn
from tssbn import export
from tssbn.export.wiring import Wiring

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

# --- fold: convolutions and linear layers ---------------------------------------------------------

LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3), 1),
    "conv2d": (nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), 2),
    "conv3d": (nn.Conv3d(4, 6, 2), 3),
    "reflecting": (nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect"), 2),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), 2),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), 2),
    "transposed1d": (nn.ConvTranspose1d(4, 6, 3, bias=False), 1),
    "transposed2d": (nn.ConvTranspose2d(4, 6, 3, stride=2), 2),
    "transposed3d": (nn.ConvTranspose3d(4, 6, 2), 3),
    "transposed grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), 2),
}


@pytest.mark.parametrize("sigmoid", [True, False], ids=["σ", "ordinary"])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_batch_norm_disappears_in_a_convolution(name, affine, momentum, sigmoid):
    layer, dimensions = LAYERS[name]
    norm = NORMS[dimensions - 1](layer.out_channels, affine=affine, momentum=momentum)
    net = nn.Sequential(copy.deepcopy(layer), norm, nn.Tanh())
    net = stir(tssbn.sigmoid(net) if sigmoid else net)
    x = normal(3, 4, *[7] * dimensions)
    folded = export.fold(net)
    assert [type(part) for part in folded] == [type(layer), nn.Identity, nn.Tanh]
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_disappears_in_a_linear_layer(bias):
    parts = nn.Flatten(), nn.Linear(4, 6, bias=bias), tssbn.SigmoidBatchNorm1d(6), nn.ReLU()
    net = stir(nn.Sequential(*parts))
    x = normal(3, 4)
    folded = export.fold(net)
    assert not norms(folded) and len(list(folded.modules())) == 5
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)


def test_batch_norm_over_another_dimension_is_not_mistaken_for_the_linear_layers_own():
    net = stir(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Flatten(1))).eval()
    for x in normal(3, 4, 5), normal(3, 5):  # it normalises the 4 rows, not the 4 features
        torch.testing.assert_close(export.fold(net)(x), net(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("affine", ["paper", "preserve", "logit"])
def test_affine_modes_fold_scale_and_bias(affine):
    net = stir(nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.BatchNorm2d(5)))
    net = tssbn.sigmoid(net, affine)
    nn.init.normal_(net[1].gamma)
    x = normal(2, 2, 6, 6)
    folded = export.fold(net)
    assert [type(m) for m in folded[1:]] == [nn.Identity, nn.ReLU, nn.BatchNorm2d]
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)


def test_the_activation_of_a_fused_layer_remains():
    norm_act = pytest.importorskip("timm.layers.norm_act")
    net = nn.Sequential(nn.Conv2d(2, 5, 3), norm_act.BatchNormAct2d(5, act_layer=nn.SiLU))
    net = stir(tssbn.sigmoid(net))
    x = normal(2, 2, 6, 6)
    folded = export.fold(net)
    assert type(folded[1]) is nn.SiLU
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_kept_and_folded_in_high_precision(dtype):
    net = stir(nn.Sequential(nn.Conv2d(3, 6, 3), tssbn.SigmoidBatchNorm2d(6))).eval().to(dtype)
    net[1].running_var.fill_(3e-5)  # of which ε = 1e-5 is a good part
    x = normal(2, 3, 5, 5, dtype=dtype)
    folded = export.fold(net)
    assert folded[0].weight.dtype == folded[0].bias.dtype == dtype
    expected = copy.deepcopy(net).double()(x.double())
    error = (folded(x).double() - expected).norm() / expected.norm()
    assert error < 4 * torch.finfo(dtype).eps


def test_channels_last_is_kept():
    net = stir(nn.Sequential(nn.Conv2d(3, 6, 3), tssbn.SigmoidBatchNorm2d(6)))
    net.to(memory_format=torch.channels_last)
    weight = export.fold(net)[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_the_model_is_left_as_it_is():
    net = stir(nn.Sequential(nn.Conv2d(3, 6, 3), tssbn.SigmoidBatchNorm2d(6))).train()
    net[0].weight.requires_grad_(False)
    state = copy.deepcopy(net.state_dict())
    folded = export.fold(net)
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert net.training and net[1].training and not any(m.training for m in folded.modules())
    assert not folded[0].weight.requires_grad and folded[0].bias.requires_grad
    assert isinstance(net[1], tssbn.SigmoidBatchNorm2d)


# --- fold: what must stay -------------------------------------------------------------------------


class Net(nn.Module):
    """conv and norm, and a forward of one's own."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), tssbn.SigmoidBatchNorm2d(3)
        for name, module in modules.items():
            self.add_module(name, module)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


STAYS = {
    "norm first": lambda self, x: self.conv(self.norm(x)),
    "something between": lambda self, x: self.norm(self.conv(x).relu()),
    "output used twice": lambda self, x: self.norm(y := self.conv(x)) + y,
    "convolution called twice": lambda self, x: self.norm(self.conv(self.conv(x))),
    "norm called twice": lambda self, x: self.norm(self.norm(self.conv(x))),
    "weight read": lambda self, x: self.norm(self.conv(x)) + self.conv.weight.sum(),
}


@pytest.mark.parametrize("name", STAYS)
def test_a_norm_layer_that_does_not_own_its_convolution_becomes_ordinary_and_stays(name):
    net = stir(Net(STAYS[name]))
    x = normal(2, 3, 6, 6)
    folded = export.fold(net)
    assert type(folded.norm) is nn.BatchNorm2d
    assert torch.equal(folded.norm.weight, net.norm.gamma.sigmoid()) and folded.norm.bias is None
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)


def test_asking_for_the_shape_does_no_harm():
    net = stir(Net(lambda self, x: self.norm(y := self.conv(x)) * y.shape[1] + y.size(0)))
    x = normal(2, 3, 6, 6)
    folded = export.fold(net)
    assert type(folded.norm) is nn.Identity
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)


def _share(net):
    net.other = nn.Conv2d(3, 3, 3)
    net.other.weight = net.conv.weight


def _halve(net):
    net.conv.register_forward_hook(lambda module, args, output: output / 2)


def _standardise(net):
    net.conv = pytest.importorskip("timm.layers").StdConv2d(3, 3, 3)


KEPT = {
    "shared parameter": _share,
    "hook": _halve,
    "weight norm": lambda net: nn.utils.parametrizations.weight_norm(net.conv),
    "standardised weight": _standardise,
    "no statistics": lambda net: setattr(
        net, "norm", tssbn.SigmoidBatchNorm2d(3, track_running_stats=False)
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_layers_that_are_more_than_they_seem_stay(name):
    net = Net(lambda self, x: self.norm(self.conv(x)))
    KEPT[name](net)
    stir(net)
    x = normal(2, 3, 6, 6)
    folded = export.fold(net)
    assert type(folded.norm) is nn.BatchNorm2d
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.GroupNorm(2, 4), (2, 4, 5)),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), (2, 4, 5, 5)),
        (nn.RMSNorm(5), (2, 4, 5)),
        (nn.LayerNorm((4, 5)), (2, 4, 5)),
        (nn.BatchNorm1d(4), (3, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("affine", ["paper", "preserve"])
def test_other_layers_become_ordinary_with_the_gate_as_weight(layer, shape, affine):
    host = stir(copy.deepcopy(layer))
    net = tssbn.sigmoid(nn.Sequential(host), affine)
    nn.init.normal_(net[0].gamma)
    expected = net.eval()(normal(*shape))
    torch.manual_seed(1)
    x = normal(*shape)
    folded = export.fold(net)
    assert type(folded[0]) is type(layer) and "gamma" not in folded.state_dict()
    torch.testing.assert_close(folded(x), net(x), **ABSOLUTE)
    assert expected.shape == folded(x).shape
    assert torch.equal(folded[0].weight, net[0].weight)


# --- fold: layer normalisation --------------------------------------------------------------------


class Reads(nn.Module):
    def __init__(self, layer, forward):
        super().__init__()
        self.norm, self.a, self.b = layer, nn.Linear(6, 4), nn.Linear(6, 5, bias=False)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


@pytest.mark.parametrize("layer", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("affine", ["paper", "preserve", None])
def test_linear_layers_take_scale_and_bias(layer, affine):
    net = Reads(layer(6), lambda self, x: torch.cat([self.a(y := self.norm(x)), self.b(y)], -1))
    net = stir(net)
    if affine:
        net = tssbn.sigmoid(net, affine)
        nn.init.normal_(net.norm.gamma)
    folded = export.fold(net)
    assert type(folded.norm) is layer and not list(folded.norm.parameters())
    shifted = layer is nn.LayerNorm and affine != "paper"
    assert (folded.b.bias is not None) == shifted
    x = normal(2, 3, 6)
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)
    repr(folded), pickle.dumps(folded.norm)


def test_a_norm_layer_that_others_read_keeps_its_gate():
    net = Reads(tssbn.SigmoidLayerNorm(6), lambda self, x: (self.a(y := self.norm(x)), y))
    net = stir(net)
    folded = export.fold(net)
    assert torch.equal(folded.norm.weight, net.norm.gamma.sigmoid())
    x = normal(2, 6)
    torch.testing.assert_close(folded(x), net(x), **ABSOLUTE)


# --- fold: code that torch.fx cannot follow -------------------------------------------------------


class Looks(nn.Module):
    """Decides by the values of a tensor."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x) if x.sum() > 0 else self.layers(-x)


def test_the_rest_is_folded_where_a_part_cannot_be_followed():
    def block():
        return nn.Conv2d(3, 3, 3), tssbn.SigmoidBatchNorm2d(3)

    net = stir(nn.Sequential(*block(), Looks(*block()), *block()))
    with pytest.warns(UserWarning, match=r"torch.fx cannot follow module '2', a Looks") as seen:
        folded = export.fold(net)
    assert len(seen) == 1
    kinds = [type(m) for m in (folded[1], folded[2].layers[1], folded[4])]
    assert kinds == [nn.Identity, nn.BatchNorm2d, nn.Identity]
    x = normal(2, 3, 9, 9)
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)


def test_nothing_is_said_of_parts_without_norm_layers():
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), Looks(nn.Conv2d(3, 3, 1)))
    assert not norms(export.fold(stir(net)))


def test_a_model_that_cannot_be_followed_at_all_is_right_and_not_folded():
    net = stir(Looks(nn.Conv2d(3, 3, 3), tssbn.SigmoidBatchNorm2d(3)))
    with pytest.warns(UserWarning, match="torch.fx cannot follow the model, a Looks"):
        folded = export.fold(net)
    x = normal(2, 3, 6, 6)
    torch.testing.assert_close(folded(x), net.eval()(x), **ABSOLUTE)
    assert type(folded.layers[1]) is nn.BatchNorm2d


def test_wiring_names_what_it_cannot_see():
    wiring = Wiring(nn.Sequential(nn.Conv2d(3, 3, 1), Looks(nn.Conv2d(3, 3, 1), nn.ReLU())))
    assert list(wiring.closed) == ["1"] and wiring.source("1.layers.1") is None


def test_networks_of_several_tasks_are_not_folded():
    trunk = tssbn.task_specific(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), ("a", "b"))
    with pytest.raises(ValueError, match=r"layers of several tasks: .*tssbn.export.task"):
        export.fold(trunk)
