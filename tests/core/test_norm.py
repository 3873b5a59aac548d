"""The σ layers of a single task."""

import pytest
import torch
from asserts import TOLERANCE, assert_round_trips
from inputs import LAYERS
from settings import DEVICE, DTYPE
from torch import nn

import tssbn
from tssbn.norm import SigmoidNorm


def test_batch_norm_is_the_equation():
    """Written out: σ(γ)·(x - mean) / sqrt(variance + ε), biased variance, no shift."""
    layer = tssbn.SigmoidBatchNorm2d(4, device=DEVICE, dtype=DTYPE)
    nn.init.normal_(layer.gamma)
    x = torch.randn(3, 4, 5, 2, device=DEVICE, dtype=DTYPE) * 3 + 1
    mean = x.mean(dim=(0, 2, 3), keepdim=True)
    variance = x.var(dim=(0, 2, 3), correction=0, keepdim=True)
    gate = 1 / (1 + torch.exp(-layer.gamma)).reshape(1, 4, 1, 1)
    torch.testing.assert_close(layer(x), gate * (x - mean) / (variance + 1e-5).sqrt(), **TOLERANCE)


@pytest.mark.parametrize(("sigma", "host", "args", "shape"), LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_equals_the_host_with_weight_sigmoid_and_no_bias(sigma, host, args, shape, training):
    layer = sigma(*args, device=DEVICE, dtype=DTYPE)
    nn.init.normal_(layer.gamma)
    plain = host(*args, device=DEVICE, dtype=DTYPE)
    weight = torch.sigmoid(layer.gamma.detach()).requires_grad_()
    x, upstream = torch.randn(2, *shape, device=DEVICE, dtype=DTYPE)
    if plain.__dict__.get("affine", plain.__dict__.get("elementwise_affine")):
        plain._parameters["weight"] = nn.Parameter(weight.detach().clone())
        weight = plain.weight
        for _ in range(2):  # statistics follow too
            ours, theirs = layer.train(training)(x), plain.train(training)(x)
    else:  # InstanceNorm has no affine part by default
        ours = layer.train(training)(x)
        theirs = plain.train(training)(x) * weight.reshape(-1, *[1] * (x.ndim - 2))
    torch.testing.assert_close(ours, theirs, **TOLERANCE)
    (ours * upstream).sum().backward()
    (theirs * upstream).sum().backward()
    gate = torch.sigmoid(layer.gamma.detach())
    torch.testing.assert_close(layer.gamma.grad, weight.grad * gate * (1 - gate), **TOLERANCE)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(layer.get_buffer(name), buffer, **TOLERANCE)


@pytest.mark.parametrize(("sigma", "host", "args", "shape"), LAYERS)
def test_starts_half_open_without_bias(sigma, host, args, shape):
    layer = sigma(*args)
    assert isinstance(layer, host)
    assert [name for name, _ in layer.named_parameters()] == ["gamma"]
    assert (layer.weight == 0.5).all() and layer.bias is None
    nn.init.normal_(layer.gamma)
    layer.reset_parameters()
    assert (layer.gamma == 0).all()


@pytest.mark.parametrize(("sigma", "host", "args", "shape"), LAYERS)
def test_gradients_are_right(sigma, host, args, shape):
    layer = sigma(*args, device=DEVICE, dtype=torch.float64)
    x = torch.randn(shape, device=DEVICE, dtype=torch.float64, requires_grad=True)
    gamma = torch.randn_like(layer.gamma).requires_grad_()

    def output(x, gamma):
        return torch.func.functional_call(layer, {"gamma": gamma}, (x,))

    assert torch.autograd.gradcheck(output, (x, gamma))


def test_a_sigma_layer_without_gate_is_refused():
    with pytest.raises(ValueError, match="affine=False leaves a σ layer without its gate"):
        tssbn.SigmoidBatchNorm1d(3, affine=False)
    with pytest.raises(ValueError, match="elementwise_affine=False"):
        tssbn.SigmoidLayerNorm(3, elementwise_affine=False)


def test_gate_stays_in_the_open_interval():
    layer = tssbn.SigmoidBatchNorm1d(3, dtype=torch.float64)
    with torch.no_grad():
        layer.gamma.copy_(torch.tensor([-30.0, 0.0, 30.0]))
    assert ((layer.weight > 0) & (layer.weight < 1)).all()


@pytest.mark.parametrize(("sigma", "host", "args", "shape"), LAYERS)
def test_copies_pickles_and_loads(sigma, host, args, shape):
    layer = sigma(*args)
    nn.init.normal_(layer.gamma)
    layer(torch.randn(shape))
    assert_round_trips(layer)


def test_a_converted_layer_is_the_class_and_loads_its_state():
    layer, x = tssbn.SigmoidBatchNorm1d(3), torch.randn(4, 3)
    nn.init.normal_(layer.gamma)
    expected, twin = layer(x), tssbn.sigmoid(nn.BatchNorm1d(3))
    assert type(twin) is tssbn.SigmoidBatchNorm1d
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin(x), expected)
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    assert set(layer.state_dict()) == {"gamma", *statistics}


class Own(tssbn.SigmoidBatchNorm1d):
    """A reader's subclass."""


def test_subclasses_copy_and_pickle():
    assert_round_trips(Own(3))


def test_sigmoid_converts_a_whole_model_in_place():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.GroupNorm(2, 4)))
    assert tssbn.sigmoid(net) is net
    assert type(net[1]) is tssbn.SigmoidBatchNorm2d and type(net[2][0]) is tssbn.SigmoidGroupNorm
    assert sum(isinstance(module, SigmoidNorm) for module in net.modules()) == 2


def test_sigmoid_preserve_keeps_the_output():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh()).to(DEVICE, DTYPE)
    nn.init.normal_(net[1].weight)
    nn.init.normal_(net[1].bias)
    x = torch.randn(8, 3, device=DEVICE, dtype=DTYPE)
    expected = net(x)
    torch.testing.assert_close(tssbn.sigmoid(net)(x), expected)  # auto: it is not fresh
    assert (torch.sigmoid(net[1].gamma) == 0.5).all()
