"""What M³ViT, Mod-Squad, MLoRE and TaskExpert are in special cases."""

import pytest
import torch
from asserts import ABSOLUTE, assert_same_outputs
from torch import nn

pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from tiny_mixtures import OUTPUTS, branch_by_branch, built, images
from tiny_transformers import NETWORKS, VIT

from tssbn.methods import hard_sharing


@pytest.mark.parametrize("kind", ["vit", "swin"])
def test_m3vit_that_routes_evenly_is_hard_sharing(kind):
    """As many experts as slices, all chosen; or one expert."""
    torch.manual_seed(0)
    plain, x = hard_sharing.build(NETWORKS[kind], OUTPUTS).double().eval(), images(kind)
    for experts in 1, 4:
        net = built("m3vit", kind, experts=experts, top=experts).eval()
        net.heads = plain.heads
        for name, value in net.trunk.named_parameters():
            if name.endswith("router.weight"):
                nn.init.zeros_(value)
        assert_same_outputs(net(x), plain(x), **ABSOLUTE)


def test_m3vit_begins_near_the_trunk_that_it_was():
    torch.manual_seed(0)
    trunk, net = VIT.trunk().double(), built("m3vit")
    mixture, mlp = net.trunk.vit.blocks[1].mlp, trunk.vit.blocks[1].mlp
    tokens = torch.randn(2, 5, 24).double()
    nn.init.zeros_(mixture.router.weight)
    with mixture.router.tasks.running("a"):
        weights, _ = mixture.router(tokens)
    assert torch.equal(weights, torch.full((2, 5, 4), 1 / 16).double())
    assert torch.equal(mixture.experts.weight1[:4].flatten(0, 1), mlp.fc1.weight)
    assert [type(block.mlp).__name__ for block in net.trunk.vit.blocks] == ["Mlp", "Mixture"] * 2


def test_tasks_of_mod_squad_differ_by_embedding_and_routers_alone():
    net, x = built("mod-squad").eval(), images()
    with torch.no_grad():
        assert not torch.allclose(*features(net, x)[:2])
        nn.init.zeros_(net.trunk.vit.blocks[0][0].embedding)
        one, *others = features(net, x)
        assert all(torch.allclose(one, other, rtol=0, atol=1e-12) for other in others)
        for name, value in net.trunk.named_parameters():
            if name.endswith("router.weight"):
                value.normal_()
        assert not torch.allclose(*features(net, x)[:2])


def features(net, x):
    """What the head of each task reads."""
    seen = []
    hooks = [
        h.register_forward_pre_hook(lambda _, g: seen.append(g[0])) for h in net.heads.values()
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    return seen


def test_mod_squad_adds_the_embedding_before_each_block():
    net, x = built("mod-squad").eval(), images()
    for _, block in net.trunk.vit.blocks:
        for branch in block.norm1, block.norm2:  # nothing but the residual stream is left
            nn.init.zeros_(branch.weight), nn.init.zeros_(branch.bias)
        block.ls1 = block.ls2 = type("Nothing", (nn.Module,), {"forward": lambda _, y: 0 * y})()
    seen = []
    net.trunk.vit.norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(x, ["b"])
    vit = net.trunk.vit
    expected = vit.patch_embed(x) + vit.pos_embed + 4 * net.trunk.vit.blocks[0][0].embedding[1]
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", ["mlore", "taskexpert"])
def test_the_trunk_runs_once_for_all_tasks(method):
    net, rows = built(method), []
    net.trunk.vit.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    net(images())
    assert rows == [3]


@pytest.mark.parametrize("method", ["mlore", "taskexpert"])
def test_tasks_that_own_the_same_read_the_same(method):
    net, x = built(method).eval(), images()
    with torch.no_grad():
        one, other, _ = features(net, x)
        assert not torch.allclose(one, other)
        for part in net.trunk.modules():
            for name in getattr(part, "per_task", ()):
                if (value := getattr(part, name, None)) is not None:
                    value.copy_(value[:1].expand_as(value))
        one, *others = features(net, x)
    assert all(torch.allclose(one, other, rtol=0, atol=1e-12) for other in others)


def test_mlore_folded_is_mlore_branch_by_branch():
    net, x = built("mlore"), images()
    net(x)  # statistics
    folded = net.eval()(x)
    branch_by_branch(net)
    assert_same_outputs(net(x), folded, rtol=0, atol=1e-10)


def test_taskexpert_whose_gates_choose_one_expert_adds_up_its_features():
    net, x = built("taskexpert").eval(), images()
    memory = net.trunk.decoder
    with torch.no_grad():
        for gate in memory.gates:
            gate.weight.zero_(), gate.bias.zero_()
            gate.bias[1, 3] = 1000  # the third of the shared ones
        maps = [part(m)[:, 2] for part, m in zip(net.trunk.shared, net.trunk.vit(x), strict=True)]
        torch.testing.assert_close(features(net, x)[1], sum(maps), rtol=0, atol=1e-12)
        for gate in memory.gates:
            gate.bias[1, 0] = 2000  # the memory
        expected = torch.zeros_like(maps[0])
        with memory.recall[0][0].tasks.running("b"):
            for recall in memory.recall:
                expected = expected + recall(expected)
        torch.testing.assert_close(features(net, x)[1], expected, rtol=0, atol=1e-12)
