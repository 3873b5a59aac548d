"""One exact value for each method: a trunk of one channel, of which x̂ is -1 and 1."""

import math

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics")
pytest.importorskip("torchvision")
pytest.importorskip("lightning_fabric")

from transformer_methods import TRANSFORMERS_ONLY

from tssbn.methods import METHODS, Network, find_method
from tssbn.norm import TaskSpecificNorm

IMAGES = torch.tensor([1.0, 5.0], dtype=torch.float64).view(2, 1, 1, 1).expand(2, 3, 1, 1) / 3
GATE = {  # γ of a gate of this value
    "tssbn": lambda value: math.log(value / (1 - value)),
    "random-gates": lambda value: math.log(value / (1 - value)),
    "shuffled-gates": lambda value: math.log(value / (1 - value)),
    "deep-gates": lambda value: math.log(value / (1 - value)),
    "tssbn-bias": lambda value: math.log(value / (1 - value)),
    "tssbn-frozen": lambda value: math.log(value / (1 - value)),
    "tanh": math.atanh,
    "softplus": lambda value: math.log(math.expm1(value)),
    "clamp": lambda value: value,
}
SIGMA = 1 / (1 + math.exp(-2))
LINE = {  # y = w x̂ + b, at x̂ of -1 and 1
    "hps": {"a": (2, 1), "b": (2, 1)},
    "mmoe": {"a": (2, 1), "b": (2, 1)},  # all experts and columns are alike, and weights sum to 1
    "cgc": {"a": (2, 1), "b": (2, 1)},
    "ple": {"a": (2, 1), "b": (2, 1)},
    "ltb": {"a": (2, 1), "b": (2, 1)},
    "dselect-k": {"a": (2, 1), "b": (2, 1)},
    "stl": {"a": (2, 1), "b": (2, 1)},
    "statistics": {"a": (2, 1), "b": (2, 1)},
    "tsbn": {"a": (2, 10), "b": (3, 20)},
    "tsbn-x100": {"a": (2, 10), "b": (3, 20)},
    "affine": {"a": (2, 10), "b": (3, 20)},
    "tsbn-no-bias": {"a": (2, 0), "b": (3, 0)},
    "tssbn": {"a": (0.25, 0), "b": (0.75, 0)},
    "heads-only": {"a": (2, 1), "b": (2, 1)},
    "shared-norm": {"a": (2, 1), "b": (2, 1)},
    "full": {"a": (2, 1), "b": (2, 1)},
    "tsbn-frozen": {"a": (2, 10), "b": (3, 20)},
    "tssbn-frozen": {"a": (0.25, 0), "b": (0.75, 0)},
    "shared-gates-frozen": {"a": (SIGMA, 0), "b": (SIGMA, 0)},
    "hps-wide": {"a": (2, 1), "b": (2, 1)},
    "shared-gates": {"a": (SIGMA, 0), "b": (SIGMA, 0)},
    "random-gates": {"a": (0.25, 0), "b": (0.75, 0)},
    "shuffled-gates": {"a": (0.25, 0), "b": (0.75, 0)},
    "deep-gates": {"a": (0.25, 0), "b": (0.75, 0)},
    "tssbn-bias": {"a": (0.25, 10), "b": (0.75, 20)},
    "tanh": {"a": (0.25, 0), "b": (0.75, 0)},
    "softplus": {"a": (0.25, 0), "b": (0.75, 0)},
    "clamp": {"a": (0.25, 0), "b": (0.75, 0)},
}
STAGED = {"cross-stitch", "mtan"}  # need a trunk of stages, see their own tests


def trunk():
    conv = nn.Conv2d(3, 1, 1, bias=False)
    nn.init.ones_(conv.weight)
    return nn.Sequential(conv, nn.BatchNorm2d(1, eps=1e-12)).double()


def head(channels):
    conv = nn.Conv2d(1, channels, 1, bias=False)
    nn.init.ones_(conv.weight)
    return conv.double()


def test_every_method_has_a_value():
    assert set(LINE) | STAGED | set(TRANSFORMERS_ONLY) == set(METHODS)


@pytest.mark.parametrize("method", LINE)
def test_a_line_through_two_images(method):
    network = Network(trunk, head, IMAGES, wider=lambda times: Network(trunk, head, IMAGES))
    net = find_method(method).build(network, {"a": 1, "b": 1}).double()
    lines = LINE[method]
    for layer in net.modules():
        if isinstance(layer, TaskSpecificNorm) and method != "statistics":
            for row, (weight, bias) in enumerate(lines.values()):
                layer.gamma.data[row] = GATE.get(method, float)(weight)
                if layer.beta is not None:
                    layer.beta.data[row] = bias
        elif isinstance(layer, nn.BatchNorm2d):
            for name, value in zip(("weight", "bias", "gamma", "beta"), (2, 1) * 2, strict=True):
                if (parameter := layer._parameters.get(name)) is not None:
                    parameter.data.fill_(value)
    outputs = net.train()(IMAGES)
    for task, (weight, bias) in lines.items():
        expected = torch.tensor([bias - weight, bias + weight], dtype=torch.float64)
        torch.testing.assert_close(outputs[task].flatten(), expected, rtol=1e-6, atol=1e-9)
