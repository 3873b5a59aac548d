"""The two CIFAR networks of the paper on receding neuron importances (Suteu and Guo, 2204.06404).

Both use ordinary BatchNorm, which ``tssbn.sigmoid(net, affine="paper")`` turns into σBN. Their
attribute ``prunable`` lists the norm layers whose channels can be removed without changing the
shape of a sum of two branches.
"""

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["VGG16", "ResNet56"]


class VGG16(nn.Module):
    """VGG-16 with BatchNorm and a single linear layer after an average over the image.

    The convolutions are those of torchvision's ``vgg16_bn`` without its fifth pooling, under the
    same names, so that the ``features`` of its checkpoints fit. All 13 norm layers, with 4,224
    channels, are prunable.

    Args:
        classes: outputs of the linear layer.

    Shape: (N, 3, H, W) with H, W >= 16 -> (N, classes).

    Example:
        >>> import torch
        >>> VGG16(classes=10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, classes: int = 10):
        super().__init__()
        layers, before = [], 3
        for stage, widths in enumerate([[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]):
            layers += [nn.MaxPool2d(2)] if stage else []
            for width in widths:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                before = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)  # the 2x2 that a 32x32 image leaves
        self.classifier = nn.Linear(before, classes)
        _start(self)

    @property
    def prunable(self) -> list[str]:
        """Names of the norm layers after each convolution."""
        return [name for name, part in self.named_modules() if isinstance(part, nn.BatchNorm2d)]

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(x)).flatten(1))


class ResNet56(nn.Module):
    """The 56-layer residual network for CIFAR, with three stages of 16, 32 and 64 channels.

    Each stage has nine blocks. Shortcuts have no parameters: at the start of a stage they skip
    every other pixel and pad the new channels with zeros, half of them on each side. No ReLU
    follows the first convolution. Only the first norm layer of a block is prunable, because the
    output of the second one is added to the shortcut; these are 27 layers with 1,008 channels.

    Args:
        classes: outputs of the linear layer.

    Shape: (N, 3, H, W) -> (N, classes).

    Example:
        >>> net = ResNet56()
        >>> len(net.prunable), net.prunable[0]
        (27, 'stages.0.0.bn1')
    """

    def __init__(self, classes: int = 10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.stages = nn.Sequential(_stage(16, 16, 1), _stage(16, 32, 2), _stage(32, 64, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, classes)
        _start(self)

    @property
    def prunable(self) -> list[str]:
        """Names of the first norm layer of every block."""
        return [name for name, _ in self.named_modules() if name.endswith("bn1")]

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.stages(self.stem(x))).flatten(1))


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.side = stride, (width - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.side:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.side, self.side))
        return F.relu(y + x)


def _stage(before: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        _Block(before, width, stride), *(_Block(width, width, 1) for _ in range(8))
    )


def _start(network: nn.Module) -> None:
    """Draw start values as the paper's code does.

    Convolutions are drawn from N(0, 2 / (k² · output channels)), the linear layer from N(0, 0.01²),
    and the scales of BatchNorm are 0.5.
    """
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.constant_(part.weight, 0.5)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.01)
            nn.init.zeros_(part.bias)
