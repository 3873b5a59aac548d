"""Networks of the papers; import each by name: ``from tssbn.networks.cifar import ResNet56``."""

import tssbn.bars  # noqa: F401
