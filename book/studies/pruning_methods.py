"""The three methods of the pruning study: how a network starts, learns and is cut."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR

import tssbn
from tssbn import pruning
from tssbn.gates import Importance
from tssbn.networks.cifar import VGG16, ResNet56
from tssbn.norm import SigmoidNorm

NETWORKS = {"vgg16": VGG16, "resnet56": ResNet56}
SCOPES = {"rni": "global", "l1": "global", "uniform": "local"}  # of the quantile, by method
PENALTIES = {  # λ; b
    ("vgg16", "rni"): {"weight": 1e-3, "shift": 3.0},
    ("vgg16", "l1"): {"weight": 1e-4},
    ("resnet56", "rni"): {"weight": 1e-4, "shift": 0.0},
    ("resnet56", "l1"): {"weight": 1e-5},
}
LR, MULTIPLIER, MOMENTUM, DECAY, BATCH = 0.1, 10, 0.9, 1e-4, 64
LEAST = 3  # channels that a layer keeps


@dataclass(frozen=True)
class Setting:
    """What is trained and cut, and how.

    Raises:
        ValueError: fewer than four epochs, too few for three learning rates; a share that is not
            between 0 and 1, or that comes twice.
    """

    network: str
    method: str
    seed: int = 0
    epochs: int = 160
    shares: tuple[float, ...] = (0.5, 0.9)
    precision: str = "32"
    channels_last: bool = False
    fast_kernels: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 4:
            raise ValueError(f"epochs={self.epochs} must be at least 4, for three learning rates")
        if len({*self.shares}) < len(self.shares) or not all(0 < s < 1 for s in self.shares):
            raise ValueError(f"shares={self.shares} must be different and between 0 and 1")

    @property
    def name(self) -> str:
        usual = Setting(self.network, self.method)
        parts = [self.network, self.method, str(self.seed)]
        if self.epochs != usual.epochs:
            parts.append(f"epochs={self.epochs}")
        if self.shares != usual.shares:
            parts.append(f"shares={'+'.join(map(str, self.shares))}")
        return "-".join(parts)

    @property
    def recipe(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "batch": BATCH,
            "lr": LR,
            "momentum": MOMENTUM,
            "weight_decay": DECAY,
            "multiplier": MULTIPLIER if self.method == "rni" else 1,
            "penalty": PENALTIES.get((self.network, self.method)),
            "scope": SCOPES[self.method],
            "shares": self.shares,
            "least": LEAST,
        }


def build(setting: Setting, classes: int) -> nn.Module:
    """The network as it starts."""
    torch.manual_seed(setting.seed)
    net = NETWORKS[setting.network](classes)
    if setting.method == "rni":
        tssbn.sigmoid(net, affine="paper")
        for layer in net.modules():
            if isinstance(layer, SigmoidNorm):
                nn.init.normal_(layer.gamma)
    return net


def optimiser(net: nn.Module, setting: Setting) -> tuple[SGD, MultiStepLR]:
    """The optimiser and its schedule; gates learn ten times faster and do not decay."""
    gated = setting.method == "rni"
    what = tssbn.param_groups(net, LR, MULTIPLIER, DECAY) if gated else net.parameters()
    sgd = SGD(what, LR, MOMENTUM, weight_decay=DECAY, nesterov=True)
    return sgd, MultiStepLR(sgd, [setting.epochs // 2, setting.epochs * 3 // 4])


def penalty(net: nn.Module, setting: Setting) -> Tensor | float:
    """What training adds to the loss."""
    known = setting.recipe["penalty"]
    if known is None:
        return 0.0
    if setting.method == "rni":
        return known["weight"] * pruning.rni_penalty(net, known["shift"])
    return known["weight"] * pruning.slimming_penalty(net)


def cut(net: nn.Module, setting: Setting, share: float, example: Tensor) -> nn.Module:
    """The network without this share of its prunable channels."""
    masks = pruning.channel_masks(net, share, SCOPES[setting.method], LEAST, net.prunable)
    return pruning.prune_channels(net, masks, example)


def scores(net: nn.Module) -> Importance:
    """What the channels of the prunable layers are chosen by, 1 at most."""
    layers = {name: net.get_submodule(name) for name in net.prunable}
    values = [
        layer.gamma.sigmoid() if isinstance(layer, SigmoidNorm) else layer.weight.abs()
        for layer in layers.values()
    ]
    row = torch.cat(values).detach().clamp(max=1).double().cpu()
    return Importance(row[None], ("class",), {k: layers[k].num_features for k in layers})
