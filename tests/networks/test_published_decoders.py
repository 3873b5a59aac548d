"""Decoders that only the published counts of tables 3 and 4 need, and what they add up to."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytest.importorskip("timm")

from tssbn.cost import macs, parameters
from tssbn.networks.swin import Swin
from tssbn.networks.vit import ViT

STAGES = (96, 192, 384, 768)


class AllMLP(nn.Module):
    """SegFormer's (arXiv 2105.15203): all stages at 256 channels, joined; one convolution."""

    def __init__(self, outputs):
        super().__init__()
        self.each = nn.ModuleList(nn.Linear(width, 256) for width in STAGES)
        self.join = nn.Conv2d(1024, 256, 1, bias=False)
        self.norm = nn.BatchNorm2d(256)
        self.last = nn.Conv2d(256, outputs, 1)


class Up(nn.Module):
    """SETR-PUP (arXiv 2012.15840) as in M³ViT: four convolutions and enlargements in turn."""

    def __init__(self, outputs):
        super().__init__()
        self.norm = nn.LayerNorm(384)
        self.convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU())
            for before in (384, 256, 256, 256)
        )
        self.last = nn.Conv2d(256, outputs, 1)

    def forward(self, x):  # (B, 384, h, w)
        x = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        for conv in self.convs[:-1]:
            x = F.interpolate(conv(x), scale_factor=2, mode="bilinear")
        return F.interpolate(self.last(self.convs[-1](x)), scale_factor=2, mode="bilinear")


def on_meta(make, *args):
    with torch.device("meta"):
        return make(*args)


def test_first_and_third_row_of_table_4_have_all_mlp_decoders_and_output_norms():
    """Table 4 prints 112.62 M for STL, 30.06 M for MTL."""
    decoders = sum(parameters(on_meta(AllMLP, outputs)) for outputs in (21, 7, 1, 3))
    norms = sum(parameters(on_meta(nn.LayerNorm, width)) for width in STAGES)
    trunk = parameters(on_meta(Swin)) + norms
    assert (decoders, norms, trunk) == (2_537_504, 2_880, 27_520_698)
    assert 4 * trunk + decoders == 112_620_296
    assert trunk + decoders == 30_058_202


def test_most_operations_of_m3vit_are_in_its_decoders():
    """Table 3 prints 420 G; five passes of ViT-S with a class token and these have 417.5."""
    outputs = (21, 7, 2, 3, 1)
    heads = [on_meta(Up, channels) for channels in outputs]
    assert [parameters(head) for head in heads] == [2_658_048 + 257 * c for c in outputs]
    maps = on_meta(torch.empty, 1, 384, 32, 32)
    of_heads = sum(macs(head, maps) for head in heads)
    vit = on_meta(lambda: ViT(class_token=True))
    of_trunk = macs(vit, on_meta(torch.empty, 1, 3, 512, 512))
    assert parameters(vit) == 21_983_616
    assert [round(n / 1e9, 2) for n in (of_heads, of_trunk)] == [258.77, 31.75]
    assert round((5 * of_trunk + of_heads) / 1e9, 1) == 417.5
