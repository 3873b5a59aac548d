"""MTLoRA in whole networks."""

import pytest
import torch
from torch import nn

pytest.importorskip("timm")

from asserts import assert_is_multitask, assert_same_outputs
from tiny_transformers import SWIN, VIT

from tssbn import export
from tssbn.benchmarks.transformers import swin_network
from tssbn.cost import parameters
from tssbn.methods import mtlora
from tssbn.networks.stages import UnsuitableTrunk

OUTPUTS = {"a": 2, "b": 1, "c": 3}
BOTH = {"mtlora": mtlora.MTLORA, "mtlora+": mtlora.MTLORA_PLUS}
both = pytest.mark.parametrize("method", BOTH)


def built(method, drawn=True, **options):
    torch.manual_seed(0)
    net = BOTH[method].build(SWIN, OUTPUTS, **options).double().eval()
    for name, value in net.trunk.named_parameters():
        if drawn and ".up." in name:
            nn.init.normal_(value, std=0.1)
    return net, torch.randn(2, *SWIN.example.shape[1:], dtype=torch.float64)


def taps(net, x):
    """Of the tasks in turn, each a list."""
    with net._tasks.running(tuple(OUTPUTS), len(x)):
        stacked = net.trunk(x.repeat_interleave(3, 0))
    return [[tap[i::3] for tap in stacked] for i in range(3)]


@both
def test_at_first_every_task_has_the_taps_of_the_trunk(method):
    net, x = built(method, drawn=False)
    torch.manual_seed(0)
    expected = SWIN.trunk().double().eval()(x)
    for of_task in taps(net, x):
        torch.testing.assert_close(of_task, expected)


@both
def test_tasks_together_and_one_by_one(method):
    net, x = built(method)
    together = net(x)
    assert_same_outputs(together, {task: net(x, (task,))[task] for task in OUTPUTS})
    assert_same_outputs(net(x, ("c", "a")), {t: together[t] for t in ("a", "c")})
    net.check(x)
    assert_is_multitask(net, x)
    assert BOTH[method].build(SWIN, {"a": 2}).shared() == []


def test_the_trunk_sees_each_image_once():
    net, x = built("mtlora")
    net.tasks_per_pass = 1
    assert list(net.passes()) == [tuple(OUTPUTS)] and net.tasks_per_pass is None
    seen = []
    for part in (net.trunk.swin.patch_embed, net.trunk.swin.layers[2].blocks[0]):
        part.register_forward_hook(lambda module, args, y: seen.append(len(y)))
    net(x)
    assert seen == [2, 2]


def test_without_matrices_of_their_own_tasks_have_the_same_taps():
    net, x = built("mtlora", own_rank=0)
    one, *others = taps(net, x)
    for other in others:
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    mine, theirs = taps(built("mtlora")[0], x)[:2]
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(mine, theirs, strict=True))


def test_one_task_is_exported():
    net, x = built("mtlora+")
    torch.testing.assert_close(export.task(net, "b", example=x)(x), net(x)["b"])


@both
def test_all_that_is_trained_is_reached_but_one_update(method):
    net, x = built(method)
    sum(y.square().sum() for y in net.train()(x).values()).backward()
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    idle = {name for name in trained if net.get_parameter(name).grad is None}
    last = "trunk.swin.layers.3.blocks.0.fc2.update"
    assert idle == {f"{last}.down.weight", f"{last}.up.weight"}
    reductions = {name for name in trained if name.endswith("reduction.weight")}
    assert len(reductions) == (3 if method == "mtlora" else 0)


def test_parameters_at_full_size():
    outputs = {"segmentation": 21, "parts": 7, "saliency": 1, "normals": 3}
    with torch.device("meta"):
        network = swin_network()
        usual, wide = (mtlora.MTLORA.build(network, outputs, rank=rank) for rank in (16, 64))
        plus = mtlora.MTLORA_PLUS.build(network, outputs)
    assert parameters(usual) == 4_953_146 and parameters(usual.trunk) == 3_006_522
    assert parameters(wide) == 8_344_634
    assert parameters(plus) == 3_148_346 and parameters(plus.trunk) == 1_201_722


def test_a_vit_is_refused():
    with pytest.raises(UnsuitableTrunk, match="Swin, not for FusedViT"):
        mtlora.build(VIT, OUTPUTS)
