"""Networks of three tasks with nothing left at a start value, for the tests of export."""

import pytest
import torch
from inputs import NORMS, TASKS, bottlenecks, normal, resnet, vit
from settings import DEVICE, DTYPE
from shallow import segnet
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import tssbn
from tssbn.networks.celeba import CelebANet
from tssbn.networks.cifar import ResNet56
from tssbn.networks.segnet import SegNetHead
from tssbn.norm import SigmoidNorm, TaskSpecificNorm


def stir(model):
    """Nothing left at a start value."""
    for module in model.modules():
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            if value is None or not value.is_floating_point():
                continue
            if name in ("gamma", "beta", "running_mean"):
                nn.init.normal_(value)
            elif name == "running_var" or tssbn.is_norm(module):
                nn.init.uniform_(value, 0.5, 2.0)
    return model.to(DEVICE, DTYPE)


def norms(model):
    return [m for m in model.modules() if tssbn.is_norm(m)]


def resnet56():
    """Two of nine blocks in each stage."""
    net = ResNet56()
    net.stages = nn.Sequential(*(stage[:2] for stage in net.stages))
    return net


def mobile():
    """The first five of the eleven blocks of mobilenet_v3_small, which are of every kind."""
    parts = pytest.importorskip("torchvision").models.mobilenetv3
    blocks = [
        (16, 3, 16, 16, True, "RE", 2, 1),
        (16, 3, 72, 24, False, "RE", 2, 1),
        (24, 3, 88, 24, False, "RE", 1, 1),
        (24, 5, 96, 40, True, "HS", 2, 1),
        (40, 5, 240, 40, True, "HS", 1, 1),
    ]
    blocks = [parts.InvertedResidualConfig(*block, width_mult=1.0) for block in blocks]
    return parts.MobileNetV3(blocks, last_channel=64, num_classes=8)


def efficient():
    """All stages, of one block but the second, where an input goes around the last block."""
    timm = pytest.importorskip("timm")
    net = timm.create_model("tf_efficientnet_b0", num_classes=8)
    net.blocks = nn.Sequential(*(stage[: 1 + (i == 1)] for i, stage in enumerate(net.blocks)))
    return net


def preactivated():
    timm = pytest.importorskip("timm")
    return timm.create_model(
        "resnetv2_50", num_classes=8, layers=(1, 1, 2, 1), channels=(32, 32, 64, 64), stem_chs=16
    )


def dilated():
    deeplab = pytest.importorskip("tssbn.networks.deeplab")
    return deeplab.dilated_resnet((1, 1, 1, 1), (2, 4, 4, 4))


def swin():
    timm = pytest.importorskip("timm")
    return timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=8, img_size=56, depths=(2, 1), embed_dim=24,
        num_heads=(2, 4),
    )  # fmt: skip


TRUNKS = {
    "segnet": (lambda: segnet(4, stages=2), lambda: SegNetHead(2, width=4), 16),
    "celeba": (lambda: CelebANet(4), lambda: nn.Linear(32, 2), 16),
    "residual": (resnet, lambda: nn.Linear(8, 2), 32),
    "resnet56": (resnet56, lambda: nn.Linear(10, 2), 16),
    "bottlenecks": (bottlenecks, lambda: nn.Linear(8, 2), 32),
    "mobile": (mobile, lambda: nn.Linear(8, 2), 32),
    "efficient": (efficient, lambda: nn.Linear(8, 2), 32),
    "preactivated": (preactivated, lambda: nn.Linear(8, 2), 32),
    "dilated": (dilated, lambda: _deeplab_head(), 32),
    "vit": (vit, lambda: nn.Linear(8, 2), 32),
    "swin": (swin, lambda: nn.Linear(8, 2), 56),
}


def _deeplab_head():
    from tssbn.networks.deeplab import DeepLabHead

    return DeepLabHead(2, inputs=16, width=4)


def network(name, norm="sigmoid", affine="auto", stirred=False):
    make, head, size = TRUNKS[name]
    trunk = stir(make()) if stirred else make()
    if norm is not None:
        trunk = tssbn.task_specific(trunk, TASKS, NORMS[norm], affine)
    net = stir(tssbn.MultiTask(trunk, {task: head() for task in TASKS}))
    x = normal(2, 3, size, size)
    with torch.no_grad():  # statistics of this very network, so that no layer is dead
        for module in net.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = 0.9
        net.train()(x)
    return net.eval(), x


def modules_of_ours(single):
    mine = (SigmoidNorm, TaskSpecificNorm, tssbn.MultiTask)
    return [m for m in single.modules() if isinstance(m, mine)]


def hooks(single):
    kept = [h for m in single.modules() for k, h in vars(m).items() if "_hooks" in k and h]
    return [h for h in kept if isinstance(h, dict)]
