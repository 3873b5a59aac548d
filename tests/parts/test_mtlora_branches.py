"""Blocks from which the tasks' streams leave, against blocks that are put together by hand."""

import copy

import pytest
import torch
from torch import nn

pytest.importorskip("timm")

from timm.models.swin_transformer import SwinTransformerBlock

import tssbn
from tssbn.peft.branches import BranchedBlock, BranchedLinear
from tssbn.tasks import find_tasks

NAMES, WIDTH, SCALE = ("a", "b", "c"), 8, 0.7
LAYERS = (("attn", "proj"), ("mlp", "fc1"), ("mlp", "fc2"))


@pytest.fixture
def plain():
    """A shifted block whose windows do not divide the image."""
    torch.manual_seed(0)
    return SwinTransformerBlock(WIDTH, (6, 7), 2, window_size=4, shift_size=2).double()


def branched(plain, own_rank=2, **drawn):
    """The same block, branched; updates are 0 but those that are named, which are drawn."""
    tasks = tssbn.Tasks(NAMES)
    options = {"rank": 3, "own_rank": own_rank, "scale": SCALE}
    block = BranchedBlock(copy.deepcopy(plain), tasks, **options).double()
    for name in drawn:
        nn.init.normal_(getattr(block, name).own_update.up.weight)
    return block


def run(block, x):
    (tasks,) = find_tasks(block) or [tssbn.Tasks(NAMES)]
    with tasks.running(NAMES, len(x)):
        shared, own = block(x, len(NAMES))
    return shared, own.view(len(x), len(NAMES), *x.shape[1:])


def images():
    return torch.randn(2, 6, 7, WIDTH, dtype=torch.float64)


def with_matrices(plain, block, task, only=False):
    """A copy of the plain block with a task's updates in its matrices, or with these alone."""
    twin = copy.deepcopy(plain)
    for part, name in LAYERS:
        host = getattr(getattr(twin, part), name)
        update = getattr(block, name).own_update.matrix()[NAMES.index(task)].detach()
        host.weight.data = update if only else host.weight + update
        if only:
            host.bias.data.zero_()
    return twin


def test_with_updates_of_zero_every_stream_is_that_of_the_block(plain):
    x = images()
    shared, own = run(branched(plain), x)
    expected = plain(x)
    torch.testing.assert_close(shared, expected)
    torch.testing.assert_close(own, expected[:, None].expand_as(own))


def test_the_shared_stream_is_that_of_a_block_with_the_updates_in_its_matrices(plain):
    block, merged, x = branched(plain), copy.deepcopy(plain), images()
    for part, name in LAYERS:
        update = getattr(block, name).update
        nn.init.normal_(update.up.weight)
        getattr(getattr(merged, part), name).weight.data += update.matrix().detach()
    shared, own = run(block, x)
    torch.testing.assert_close(shared, merged(x))
    assert (own[:, 0] - shared).abs().min() > 0  # which have no part in the tasks' streams


def test_without_matrices_of_their_own_the_tasks_see_the_frozen_maps_of_the_shared_stream(plain):
    block, x = branched(plain, own_rank=0), images()
    for part in (block.proj, block.fc1, block.fc2):
        nn.init.normal_(part.update.up.weight)
    _, own = run(block, x)
    assert torch.equal(own[:, 0], own[:, 1]) and torch.equal(own[:, 0], own[:, 2])
    # x + P o + F₂ g, where g is the shared stream's, updates of the two layers before included
    partly = copy.deepcopy(plain)
    for part, name in LAYERS[:2]:
        getattr(getattr(partly, part), name).weight.data += getattr(block, name).update.matrix()
    after = x + partly._attn(partly.norm1(x))
    expected = x + plain._attn(plain.norm1(x)) + partly.mlp(partly.norm2(after))
    torch.testing.assert_close(own[:, 0], expected)


def test_a_task_has_its_updates_of_its_own_stream_and_the_frozen_maps_of_the_shared_one(plain):
    block, x = branched(plain, proj=True, fc1=True, fc2=True), images()
    _, own = run(block, x)
    act = plain.mlp.act
    shared = x + plain._attn(plain.norm1(x))
    frozen = plain.mlp.fc1(plain.norm2(shared))
    for task, found in zip(NAMES, own.unbind(1), strict=True):
        updates = with_matrices(plain, block, task, only=True)
        stream = shared + updates._attn(plain.norm1(x))
        hidden = frozen + updates.mlp.fc1(plain.norm2(stream))
        expected = stream + plain.mlp.fc2(act(frozen)) + updates.mlp.fc2(act(hidden))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("drawn", "equal"), [("fc2", True), ("fc1", False), ("proj", False)])
def test_a_branch_is_a_low_rank_layer_of_the_task_in_its_last_layer_alone(plain, drawn, equal):
    block, x = branched(plain, **{drawn: True}), images()
    _, own = run(block, x)
    for task, found in zip(NAMES, own.unbind(1), strict=True):
        of_task = with_matrices(plain, block, task)(x)
        assert torch.allclose(found, of_task, rtol=1e-10, atol=1e-10) == equal


def test_every_stream_has_a_drop_path_of_its_own_draw():
    torch.manual_seed(0)
    dropping = SwinTransformerBlock(WIDTH, (4, 4), 2, window_size=4, drop_path=0.5).double()
    block = branched(dropping).train()
    x = torch.randn(1, 4, 4, WIDTH, dtype=torch.float64).expand(64, -1, -1, -1)
    shared, own = run(block, x)
    first = shared[:, None] == x[:, None]
    outcomes = torch.stack([shared, *own.unbind(1)], 1).flatten(2).sum(2)
    assert first.any() and all(len(row.unique()) > 1 for row in outcomes.T)
    agree = torch.stack([outcomes[:, 0] == outcomes[:, i] for i in (1, 2, 3)])
    assert not agree.all(1).any()


def test_the_tasks_streams_leave_the_shared_one_with_the_same_draw_of_the_dropout():
    tasks = tssbn.Tasks(("a",))
    layer = BranchedLinear(nn.Linear(6, 6), tasks, rank=2, own_rank=2, dropout=0.5).double()
    for mine, theirs in zip(layer.own_update.parameters(), layer.update.parameters(), strict=True):
        mine.data[0] = theirs.data.normal_()
    x = torch.randn(9, 6, dtype=torch.float64)
    shared, own = layer.train()(x, 1)
    torch.testing.assert_close(shared, own)
    assert not torch.allclose(shared, layer.eval()(x, 1)[0])
