"""ResNets of torchvision with an eighth of the channels."""

from torch import nn
from torchvision.models.resnet import ResNet


class NarrowResNet(ResNet):
    def __init__(self, block, layers, classes):
        super().__init__(block, layers)
        self.fc = nn.Linear(64 * block.expansion, classes)

    def _make_layer(self, block, planes, *sizes, **options):
        if planes == 64:  # the first
            self.inplanes = 8
            self.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
            self.bn1 = self._norm_layer(8)
        return super()._make_layer(block, planes // 8, *sizes, **options)
