"""Task-specific layers on ViT and Swin; parameters and operations at the sizes of the tables."""

import pytest
import torch
from tiny_transformers import NETWORKS
from torch import nn

import tssbn
from tssbn.benchmarks.transformers import swin_network, vit_network
from tssbn.cost import macs, parameters
from tssbn.methods import find_method
from tssbn.methods.freeze import freeze
from tssbn.norm import TaskSpecificNorm

FIVE = {"segmentation": 21, "parts": 7, "saliency": 2, "normal": 3, "boundary": 1}
FOUR = {"segmentation": 21, "parts": 7, "saliency": 1, "normal": 3}


def stirred(net):
    """In double precision, with gates, biases and statistics that differ from task to task."""
    torch.manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, TaskSpecificNorm):
            for name in layer.per_task:
                value = getattr(layer, name, None)
                if value is not None and value.is_floating_point():
                    low, high = (0.5, 2.0) if name == "running_var" else (-1.0, 1.0)
                    nn.init.uniform_(value, low, high)
    return net.double()


@pytest.mark.parametrize("method", ["tsbn", "tssbn"])
@pytest.mark.parametrize(("kind", "stem"), [("vit", "vit.blocks.0"), ("swin", "patch_embed.norm")])
def test_stacked_passes_are_separate_ones_and_part_before_the_first_norm(kind, stem, method):
    network = NETWORKS[kind]
    net = stirred(find_method(method).build(network, {"a": 2, "b": 1, "c": 3}))
    x = network.example.double()
    assert net.share_stem(x) == stem
    stacked = net(x)
    net.stem, net.tasks_per_pass = "", 1
    separate = net(x)
    for task, y in stacked.items():
        torch.testing.assert_close(y, separate[task], atol=1e-12, rtol=1e-12)
    assert not torch.allclose(stacked["a"][:, :1], stacked["b"])


@pytest.mark.parametrize("kind", NETWORKS)
def test_gates_that_keep_a_frozen_trunk_give_its_features_to_each_task(kind):
    network = NETWORKS[kind]
    trunk = network.trunk().double().eval()
    expected = trunk(x := network.example.double())
    kept = tssbn.task_specific(network.trunk(), ("a", "b"), affine="preserve").double().eval()
    kept.load_state_dict(tssbn.task_specific(trunk, ("a", "b"), affine="preserve").state_dict())
    for task in ("a", "b"):
        with tssbn.select(kept, task):
            given = kept(x)
        for one, other in zip(flat(given), flat(expected), strict=True):
            torch.testing.assert_close(one, other)


def flat(features):
    return [features] if isinstance(features, torch.Tensor) else features


def built(method, network, outputs):
    with torch.device("meta"):
        return find_method(method).build(network, outputs)


def test_parameters_and_operations_of_table_3():
    """#P and #F of HPS, TSBN and TSσBN: table 3 prints 29 M, and 214 G of five passes."""
    network = vit_network()
    sizes = {
        method: parameters(built(method, network, FIVE)) for method in ("hps", "tsbn", "tssbn")
    }
    assert sizes == {"hps": 29_257_762, "tsbn": 29_346_850, "tssbn": 29_291_170}
    with torch.device("meta"):
        example = torch.empty(1, 3, 512, 512)
    trunk, fusion, heads = 31_708_938_240, 5_737_807_872, 27_286_044_672
    assert macs(built("hps", network, FIVE), example) == trunk + fusion + heads
    assert macs(built("tssbn", network, FIVE), example) == 5 * (trunk + fusion) + heads
    assert round((5 * (trunk + fusion) + heads) / 1e9, 1) == 214.5


def test_parameters_and_operations_of_table_4():
    """Of HPS and STL with MTLoRA's heads."""
    network = swin_network()
    hps = built("hps", network, FOUR)
    assert parameters(hps) == 29_464_442
    assert parameters(built("stl", network, FOUR)) == 112_017_896
    with torch.device("meta"):
        example = torch.empty(1, 3, 448, 448)
    assert round(macs(hps.trunk, example) / 1e9, 2) == 17.96
    with torch.device("meta"):
        taps = hps.trunk(example)
    narrow, cells = 54_190_080, 56**2
    for task, outputs in FOUR.items():
        joined = cells * 270 * 1080
        given = macs(Call(hps.heads[task], taps), example)
        assert given == narrow + joined + cells * 1080 * outputs


class Call(nn.Module):
    """A head on features that are there."""

    def __init__(self, head, features):
        super().__init__()
        self.head, self.features = head, features

    def forward(self, _):
        return self.head(self.features)


def test_what_a_method_that_freezes_swin_trains_as_mtlora_does():
    """The patch convolution, LayerNorm, tables of positions and merging: 1,599,546."""
    network = swin_network()
    with torch.device("meta"):
        trunk = network.trunk()
    freeze(trunk, network.trains)
    convolution, norms, tables, merging = 4_704, 23_232, 23_322, 1_548_288
    assert parameters(trunk) == convolution + norms + tables + merging
    frozen = {name for name, p in trunk.named_parameters() if not p.requires_grad}
    assert sum(trunk.get_parameter(name).numel() for name in frozen) == 25_878_528 + 39_744


@pytest.mark.parametrize(
    ("affine", "of_norms"),
    [("paper", 4 * 11_616), ("preserve", 8 * 11_616)],
)
def test_gates_on_a_frozen_swin(affine, of_norms):
    """σ(γ) alone, or with biases beside frozen scales, in each of the 28 LayerNorm layers."""
    network = swin_network()
    trunk = network.trunk()
    freeze(trunk, network.trains)
    trunk = tssbn.task_specific(trunk, FOUR, affine=affine)
    assert sum(isinstance(layer, TaskSpecificNorm) for layer in trunk.modules()) == 28
    assert parameters(trunk) == 4_704 + 23_322 + 1_548_288 + of_norms


def test_what_a_method_that_freezes_a_vit_trains_is_the_fusion():
    network = NETWORKS["vit"]
    trunk = network.trunk()
    freeze(trunk, network.trains)
    assert not any(p.requires_grad for p in trunk.vit.parameters())
    assert all(p.requires_grad for p in trunk.fusion.parameters())


@pytest.mark.parametrize("kind", NETWORKS)
def test_positions_do_not_decay(kind):
    network = NETWORKS[kind]
    net = find_method("tsbn").build(network, {"a": 1, "b": 1})
    spared = {name for name in net.no_weight_decay() if not name.endswith(("gamma", "beta"))}
    ends = {"vit": "pos_embed", "swin": "relative_position_bias_table"}[kind]
    assert spared == {name for name, _ in net.named_parameters() if name.endswith(ends)} != set()
