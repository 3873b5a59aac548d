"""Parameters and multiplications of mixtures of experts, as published and as here."""

import copy
from functools import cache

import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("torchmetrics")

from tiny_mixtures import branch_by_branch

from tssbn.benchmarks.transformers import vit_network
from tssbn.cost import macs, parameters
from tssbn.methods import find_method

PASCAL = {"segmentation": 21, "parts": 7, "saliency": 2, "normal": 3, "edge": 1}
OWN = ("router.weight", ".embedding")  # of tasks, in blocks
BLOCKS, EMBEDDING, FUSION, HEADS = 42_589_440, 689_280, 5_606_592, 1_668_322


@cache
def full(method):
    """The network at full size, on the meta device."""
    with torch.device("meta"):
        return find_method(method).build(vit_network(), PASCAL)


def gmacs(net):
    return macs(net, torch.empty(2, 3, 512, 512, device="meta")) / 1e9


@cache
def work(method):
    return gmacs(full(method))


@pytest.mark.parametrize(
    ("method", "size", "expected"),
    [
        ("hps", 29_257_762, 64.7),
        ("m3vit", 50_737_954, 214.7),
        ("mod-squad", 60_349_090, 284.3),
        ("taskexpert", 37_356_250, 72.9),
        ("mlore", 42_176_918 - 384, 78.3),  # without the position of a class token
    ],
)
def test_parameters_and_multiplications_at_full_size(method, size, expected):
    assert parameters(full(method)) == size
    assert round(work(method), 1) == expected


def test_where_the_parameters_are():
    for method, matrices, with_vectors in (
        ("m3vit", 42_467_328, BLOCKS),  # which the paper's table has as 42 million
        ("mod-squad", 51_904_512, 52_025_856),
    ):
        named = full(method).trunk.vit.blocks.named_parameters()
        sizes = {n: p.numel() for n, p in named if not n.endswith(OWN)}
        assert sum(sizes.values()) == with_vectors
        vectors = [n for n in sizes if "norm" in n or n.rsplit(".")[-1].startswith("bias")]
        assert sum(sizes[name] for name in sizes.keys() - set(vectors)) == matrices
    rest = EMBEDDING + FUSION + HEADS
    assert parameters(full("m3vit")) == BLOCKS + 5 * 6 * 16 * 384 + rest
    routers, embedding = 5 * 6 * 31 * 384, 5 * 384
    assert parameters(full("mod-squad")) == 52_025_856 + routers + embedding + rest
    mixtures = full("mlore").trunk.decoder.mixtures
    assert [parameters(part) for pair in mixtures for part in pair] == [2_181_868] * 8


def test_mlore_saves_a_third_of_its_multiplications_by_folding():
    """The kernel of each expert and task is made once for all images, their sums for each."""
    branches = copy.deepcopy(full("mlore"))
    branch_by_branch(branches)
    assert round(gmacs(branches), 1) == 122.2
    kernel = 192 * 3 * 3 * 192
    once, each = 8 * kernel * (540 + 5 * 32), 8 * 5 * kernel * 15
    assert round(work("mlore") - (once / 2 + each) / 1e9, 1) == 77.2
