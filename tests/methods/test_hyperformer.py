"""HyperFormer and Polyhistor in whole networks."""

import pytest
import torch
from torch import nn

pytest.importorskip("timm")

from asserts import (
    assert_is_multitask,
    assert_only_own_rows_move,
    assert_same_outputs,
    assert_stacked_is_separate,
)
from tiny_transformers import NETWORKS

from tssbn import export, select
from tssbn.benchmarks.transformers import swin_network
from tssbn.cost import macs, parameters
from tssbn.methods import Network, find_method
from tssbn.methods.hyperformer import HYPERFORMER, POLYHISTOR
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.stacking import tensors

OUTPUTS = {"a": 2, "b": 1, "c": 3}
SMALL = {"embedding": 6, "hidden": 5, "code": 4, "ratio": 2}
BOTH = {"hyperformer": HYPERFORMER, "polyhistor": POLYHISTOR}
every_case = pytest.mark.parametrize(("method", "kind"), [(m, k) for m in BOTH for k in NETWORKS])


def built(method, kind):
    """A network all of whose generators were drawn, so that every task differs."""
    torch.manual_seed(0)
    net = BOTH[method].build(NETWORKS[kind], OUTPUTS, **SMALL).double()
    for value in net.trunk.parameters():
        if value.requires_grad and value.ndim > 1:
            nn.init.normal_(value, std=0.2)
    return net, torch.randn(2, *NETWORKS[kind].example.shape[1:], dtype=torch.float64)


@every_case
def test_stacked_tasks_equal_separate_passes(method, kind):
    net, x = built(method, kind)
    net.eval()  # the BatchNorm layers of the fusion are not the tasks' own
    assert_stacked_is_separate(net, x)
    assert_stacked_is_separate(net, x, ("b", "c"))
    net.check(x)


@every_case
def test_the_tasks_own_rows_of_one_embedding(method, kind):
    net, x = built(method, kind)
    assert_is_multitask(net, x)
    assert_only_own_rows_move(net, "b", x)
    trained = {id(p) for p in net.trunk.parameters() if p.requires_grad}
    own = trained - {id(p) for p in net.shared()}
    (vectors,) = (p for p in net.parameters() if id(p) in own)
    outputs = net.eval()(x)
    vectors.data[1] += 1
    moved = {task: not torch.equal(y, outputs[task]) for task, y in net(x).items()}
    assert moved == {"a": False, "b": True, "c": False}


@every_case
def test_at_first_the_trunk_is_nearly_unchanged(method, kind):
    torch.manual_seed(0)
    net = BOTH[method].build(NETWORKS[kind], OUTPUTS)
    torch.manual_seed(0)
    frozen = NETWORKS[kind].trunk()
    x = NETWORKS[kind].example
    with select(net, "b"):
        pairs = zip(tensors(net.trunk(x)), tensors(frozen(x)), strict=True)
    off = max(((one - other).norm() / other.norm()).item() for one, other in pairs)
    assert off < 0.05 if method == "hyperformer" else off == 0


@every_case
def test_one_task_is_exported_and_another_one_added(method, kind):
    net, x = built(method, kind)
    net.eval()
    expected = net(x)
    single = export.task(net, "b", example=x)
    torch.testing.assert_close(single(x), expected["b"])
    net.add_task("d", NETWORKS[kind].head(2).double().eval(), like="b")
    assert_same_outputs({t: y for t, y in net(x).items() if t != "d"}, expected)


def test_generators_run_once_a_pass_and_adapters_for_every_token():
    tasks, tokens, width, inner, size, blocks = 3, 24, 24, 12, 4, 4
    with torch.device("meta"):
        net = HYPERFORMER.build(NETWORKS["vit"], OUTPUTS, **SMALL)
        base = find_method("heads-only").build(NETWORKS["vit"], OUTPUTS)
        base.heads = net.heads = nn.ModuleDict(dict.fromkeys(OUTPUTS, nn.Identity()))
        for images in 1, 5:
            x = torch.empty(images, *NETWORKS["vit"].example.shape[1:])
            adapters = images * 2 * tokens * width * inner
            generators = size * (2 * width * inner + inner + width + 2 * width)
            codes = 6 * 5 + 5 * size
            added = tasks * 2 * blocks * (adapters + generators + codes)
            alike = images * tasks * macs(base, x)
            assert macs(net, x) == (alike + added) // images


def test_parameters_at_full_size():
    swin = Network(*(getattr(swin_network(), name) for name in ("trunk", "head", "example")))
    outputs = {"segmentation": 21, "parts": 7, "saliency": 1, "normals": 3}
    with torch.device("meta"):
        hyperformer, polyhistor = (m.build(swin, outputs) for m in (HYPERFORMER, POLYHISTOR))
    assert parameters(hyperformer.trunk) == 72_770_768
    assert parameters(hyperformer) == 74_717_392
    assert parameters(polyhistor.trunk) == 6_413_648


def test_a_trunk_without_blocks_is_refused():
    network = Network(lambda: nn.Conv2d(3, 4, 3), nn.Identity, torch.zeros(2, 3, 8, 8))
    with pytest.raises(UnsuitableTrunk, match="Conv2d has no transformer block"):
        HYPERFORMER.build(network, OUTPUTS)
