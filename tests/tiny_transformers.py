"""A ViT and a Swin transformer so narrow that they train in no time, as networks of methods."""

import pytest

pytest.importorskip("timm")

from tssbn.benchmarks.transformers import swin_network, vit_network

# Drop path draws for each row of a batch: without it, stacked passes equal separate ones.
VIT = vit_network(
    (32, 48), fused=12, width=24, depth=4, heads=2, patch=8, taps=(2, 3, 4), drop_path=0.0
)
SWIN = swin_network(
    (64, 64), width=16, depths=(2, 1, 2, 1), heads=(1, 2, 2, 4), window=2, drop_path=0.0
)
NETWORKS = {"vit": VIT, "swin": SWIN}
