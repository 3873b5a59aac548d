"""The Swin transformer and its head."""

import pytest
import torch

pytest.importorskip("timm")

from tssbn.cost import parameters
from tssbn.networks.swin import Swin, SwinHead


def test_parameters_at_full_size():
    with torch.device("meta"):
        trunk = Swin()
        decoders = [parameters(SwinHead(outputs)) for outputs in (21, 3, 1, 7)]
    assert parameters(trunk) == 27_517_818
    narrow = 183_168
    assert [count - narrow for count in decoders] == [317_541, 298_083, 295_921, 302_407]
