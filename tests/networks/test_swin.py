"""The Swin transformer, its merged features, and its head."""

import pytest
import torch
from torch import nn

pytest.importorskip("timm")

from tssbn.cost import parameters
from tssbn.networks.blocks import blocks
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.networks.swin import Swin, SwinHead, tap_widths
from tssbn.networks.vit import FusedViT, ViT

SMALL = {"width": 8, "depths": (2, 1, 2, 1), "heads": (1, 2, 2, 2), "window": 2}


def full_size():
    with torch.device("meta"):
        return Swin()


def test_parameters_at_full_size():
    with torch.device("meta"):
        decoders = [parameters(SwinHead(outputs)) for outputs in (21, 3, 1, 7)]
    assert parameters(full_size()) == 27_517_818
    narrow = 183_168
    assert [count - narrow for count in decoders] == [317_541, 298_083, 295_921, 302_407]
    assert sum(decoders) == 1_946_624


def test_every_second_block_shifts_its_windows_also_in_the_last_stage():
    shifts = [block.shift_size for block in blocks(full_size()).values()]
    assert shifts == [(0, 0), (3, 3)] * 6


def test_rates_of_drop_path_grow_in_equal_steps():
    rates = [getattr(b.drop_path1, "drop_prob", 0.0) for b in blocks(full_size()).values()]
    assert rates == pytest.approx([0.2 * place / 11 for place in range(12)])


def test_features_are_maps_of_the_widths_that_are_told():
    trunk = Swin((64, 32), **SMALL)
    maps = trunk(torch.rand(2, 3, 64, 32))
    sizes = [(8, 4), (4, 2), (2, 1), (2, 1)]
    expected = [(2, width, *size) for width, size in zip(tap_widths(8), sizes, strict=True)]
    assert [tuple(one.shape) for one in maps] == expected


def test_a_head_of_one_tap_reads_that_tap_at_the_finest_scale():
    """The other narrowing convolutions at 0: the prediction hangs on one map alone."""
    head = SwinHead(2, image=(8, 8), inputs=(3, 5), widths=(2, 4)).eval()
    nn.init.zeros_(head.narrow[0].weight)
    fine, coarse = torch.rand(1, 3, 4, 4), torch.rand(1, 5, 2, 2)
    assert torch.equal(head([fine, coarse]), head([torch.rand(1, 3, 4, 4), coarse]))
    assert not torch.allclose(head([fine, coarse]), head([fine, torch.rand(1, 5, 2, 2)]))


def test_blocks_are_found_in_order_of_depth():
    names = ["0.blocks.0", "0.blocks.1", "1.blocks.0", "2.blocks.0", "2.blocks.1", "3.blocks.0"]
    found = blocks(trunk := Swin((64, 32), **SMALL))
    assert list(found) == [f"layers.{name}" for name in names]
    assert all(trunk.get_submodule(name) is block for name, block in found.items())
    vit = ViT((16, 16), width=24, depth=2, heads=2, patch=8, taps=(2,))
    assert list(blocks(FusedViT(vit))) == ["vit.blocks.0", "vit.blocks.1"]


def test_a_trunk_without_blocks_is_refused():
    with pytest.raises(UnsuitableTrunk, match="type Conv2d has no transformer block of timm"):
        blocks(nn.Conv2d(1, 1, 1))


def test_tables_of_positions_are_excepted_from_decay():
    trunk = Swin((64, 32), **SMALL)
    assert len(trunk.no_weight_decay()) == 6
    assert {trunk.get_parameter(name).ndim for name in trunk.no_weight_decay()} == {2}
