"""Prompts in transformers, and tables of relative positions of each task."""

import copy

import pytest
import torch
from asserts import DOUBLE
from torch import nn

pytest.importorskip("timm")

from timm.models.swin_transformer import SwinTransformerBlock, WindowAttention
from timm.models.vision_transformer import Block
from tiny_transformers import NETWORKS

import tssbn
from tssbn.methods.insertion import tasks_of_blocks
from tssbn.networks.blocks import blocks
from tssbn.networks.prompted import find_promptable, give_prompts, run_with_prompts
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.networks.windows import TaskTables
from tssbn.peft import TaskPrompts


def random(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def prompted(kind, count, deep):
    """A trunk of one task with prompts, and the same without."""
    torch.manual_seed(0)
    plain = NETWORKS[kind].trunk().double().eval()
    trunk = copy.deepcopy(plain)
    tasks = tasks_of_blocks(["seg"])
    widths = [len(block.norm1.weight) for block in blocks(trunk).values()]
    kept = widths if deep else widths[:1]
    give_prompts(find_promptable(trunk), [TaskPrompts(count, w, tasks, 1.0) for w in kept])
    return trunk.double().eval(), plain


def tensors(trunk, x):
    found = trunk(x)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("kind", NETWORKS)
def test_no_prompts_change_nothing_and_a_batch_is_its_images(kind, deep):
    x = random(3, 3, *NETWORKS[kind].example.shape[2:])
    trunk, plain = prompted(kind, 0, deep)
    for mine, theirs in zip(tensors(trunk, x), tensors(plain, x), strict=True):
        torch.testing.assert_close(mine, theirs, **DOUBLE)
    trunk, _ = prompted(kind, 3, deep)
    each = [tensors(trunk, x[i : i + 1]) for i in range(3)]
    for place, whole in enumerate(tensors(trunk, x)):
        torch.testing.assert_close(whole, torch.cat([one[place] for one in each]), **DOUBLE)
        assert (whole - tensors(plain, x)[place]).abs().max() > 1e-3


def test_a_window_that_is_the_image_is_a_block_of_a_vit():
    torch.manual_seed(0)
    block = SwinTransformerBlock(8, (3, 3), num_heads=2, window_size=3).double().eval()
    nn.init.zeros_(block.attn.relative_position_bias_table)
    plain = Block(8, num_heads=2, qkv_bias=True, norm_layer=nn.LayerNorm).double().eval()
    plain.load_state_dict(block.state_dict(), strict=False)
    x, prompts = random(2, 9, 8), random(2, 4, 8)
    tokens, after = run_with_prompts(block, x.unflatten(1, (3, 3)), prompts)
    expected = plain(torch.cat([prompts, x], 1))
    torch.testing.assert_close(torch.cat([after, tokens.flatten(1, 2)], 1), expected, **DOUBLE)


def test_windows_that_are_alike_give_prompts_that_are_their_mean():
    torch.manual_seed(0)
    block = SwinTransformerBlock(8, (4, 6), num_heads=2, window_size=2).double().eval()
    one, prompts = random(1, 2, 2, 8), random(1, 3, 8)
    tokens, after = run_with_prompts(block, one.repeat(1, 2, 3, 1), prompts)
    alone, expected = run_with_prompts(block, one, prompts)
    torch.testing.assert_close(tokens, alone.repeat(1, 2, 3, 1), **DOUBLE)
    torch.testing.assert_close(after, expected, **DOUBLE)


def test_a_prompt_is_merged_as_four_tokens_that_are_alike():
    trunk, _ = prompted("swin", 3, False)
    merging, prompts = trunk.layers[1].downsample, random(2, 3, 16)
    _, merged = run_with_prompts(merging, random(2, 4, 4, 16), prompts)
    grid = prompts[:, None].repeat_interleave(2, 2).repeat(1, 2, 1, 1)  # 2x2 pieces of a prompt
    torch.testing.assert_close(merged, merging(grid)[:, 0], **DOUBLE)


def test_prompts_go_through_no_other_part():
    with pytest.raises(TypeError, match="prompts cannot go through a ReLU"):
        run_with_prompts(nn.ReLU(), random(1, 2, 3), random(1, 2, 3))
    with pytest.raises(UnsuitableTrunk, match="a trunk of type Linear has neither"):
        find_promptable(nn.Linear(1, 1))


def test_tables_of_a_task_are_the_layers_own_and_a_difference():
    torch.manual_seed(0)
    attn = WindowAttention(8, num_heads=2, window_size=3).double().eval()
    tasks = tasks_of_blocks(["seg", "depth"])
    layer = TaskTables(attn, tasks).double().eval()
    x, mask = random(6, 9, 8), random(3, 9, 9)  # two images of three windows
    with tssbn.select(layer, "depth"):
        torch.testing.assert_close(layer(x, mask), attn(x, mask), **DOUBLE)
    nn.init.normal_(layer.delta)
    changed = copy.deepcopy(attn)
    changed.relative_position_bias_table.data += layer.delta[1].view(25, 2)
    with tssbn.select(layer, "depth"):
        torch.testing.assert_close(layer(x, mask), changed(x, mask), **DOUBLE)
