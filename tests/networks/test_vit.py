"""The ViT, its fusion and head."""

import pytest
import torch

pytest.importorskip("timm")

from tssbn.cost import parameters
from tssbn.networks.vit import ConvHead, Fusion, ViT


def test_parameters_at_full_size():
    with torch.device("meta"):
        trunk, fusion = ViT(), Fusion()
        decoders = [ConvHead(outputs) for outputs in (21, 7, 2, 3, 1)]
    assert parameters(trunk) == 21_982_848
    assert parameters(fusion) == 5_606_592
    assert sum(map(parameters, decoders)) == 1_668_322
