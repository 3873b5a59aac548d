"""Methods that put mixtures of experts into a transformer, on narrow ones."""

import torch
from tiny_transformers import NETWORKS

from tssbn.methods import find_method
from tssbn.mixtures.mlore import LowRankMixture

OUTPUTS = {"a": 2, "b": 1, "c": 3}
FEW = {"mlore": {"experts": 4, "top": 2, "own": 3}}  # experts, so that it is soon computed


def built(method, kind="vit", outputs=OUTPUTS, **options):
    torch.manual_seed(0)
    options = FEW.get(method, {}) | options
    return find_method(method).build(NETWORKS[kind], outputs, **options).double()


def images(kind="vit", n=3):
    _, *shape = NETWORKS[kind].example.shape
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)).double()


def branch_by_branch(net):
    for part in net.modules():
        if isinstance(part, LowRankMixture):
            part.folded = part.branches
