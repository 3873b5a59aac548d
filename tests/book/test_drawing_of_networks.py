"""The drawing of the networks has their normalisation layers."""

from pathlib import Path

import pytest
import torch

from tssbn import is_norm

for needed in ("timm", "torchvision", "torchmetrics"):
    pytest.importorskip(needed)
benchmarks = pytest.importorskip("tssbn.benchmarks")
transformers = pytest.importorskip("tssbn.benchmarks.transformers")

DRAWING = Path(__file__).resolve().parents[2] / "book/images/networks.svg"


def norms(network):
    """Kinds and channels of the normalisation layers of a trunk."""
    with torch.device("meta"):
        trunk = network.trunk()
    found = [part for part in trunk.modules() if is_norm(part)]
    kinds = ["LayerNorm" if isinstance(p, torch.nn.LayerNorm) else "BatchNorm" for p in found]
    return kinds, sum(part.weight.numel() for part in found)


def test_each_panel_counts_its_layers_and_draws_a_stripe_for_each():
    text, stripes = DRAWING.read_text(encoding="utf-8"), 1  # that of the key
    for network in (
        *(benchmarks.find_benchmark(n)().network for n in ("nyuv2", "rooms")),
        *(benchmarks.find_benchmark(n)().network for n in ("cityscapes", "celeba")),
        transformers.vit_network(),
        transformers.swin_network(),
    ):
        kinds, channels = norms(network)
        each = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)[::-1])]
        assert f">{', '.join(each)} layers, {channels:,} channels<" in text
        stripes += len(kinds)
    assert text.count('class="n"') == stripes
