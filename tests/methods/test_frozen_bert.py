"""Methods that train little of a frozen transformer, on BERT: sentences with padding, as tokens."""

import pytest
import torch
from asserts import DOUBLE, assert_is_multitask, assert_same_outputs, assert_stacked_is_separate
from torch import nn

pytest.importorskip("timm")
pytest.importorskip("lightning_fabric")

from transformer_methods import ALIKE, SWIN_ONLY, drawn

from tssbn.methods import Network, find_method
from tssbn.methods.frozen_norm import groups
from tssbn.networks.bert import Bert
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.norm import SigmoidNorm

OUTPUTS = {"upos": 5, "relation": 4}
OPTIONS = {**ALIKE, "full": {}, "hyperformer": {}}
PIECES = torch.tensor([[2.0, 9, 33, 7, 3, 0], [2, 5, 3, 0, 0, 0], [2, 8, 9, 9, 1, 3]])
NETWORK = Network(
    lambda: Bert(vocabulary=40, positions=8, width=16, depth=2, heads=2),
    lambda outputs: nn.Conv1d(16, outputs, 1),
    PIECES,
)


def built(method):
    torch.manual_seed(0)
    return find_method(method).build(NETWORK, OUTPUTS, **OPTIONS[method]).double().eval()


@pytest.mark.parametrize("method", ALIKE)
def test_it_starts_as_the_trunk(method):
    assert_same_outputs(built(method)(PIECES), built("full")(PIECES), **DOUBLE)


@pytest.mark.parametrize("method", OPTIONS)
def test_stacked_tasks_are_separate_passes_and_padding_changes_nothing(method):
    net = drawn(built(method))
    assert_stacked_is_separate(net, PIECES)
    assert_is_multitask(net, PIECES)
    short, padded = net(PIECES[1:2, :3]), net(PIECES[1:2])
    assert_same_outputs({task: y[:, :, :3] for task, y in padded.items()}, short, **DOUBLE)


@pytest.mark.parametrize("method", [*SWIN_ONLY, "taskexpert", "mlore", "vpt-deep"])
def test_methods_that_need_images_refuse_it(method):
    with pytest.raises(UnsuitableTrunk):
        find_method(method).build(NETWORK, OUTPUTS)


def test_gates_that_all_tasks_share_are_one_row_at_one_rate():
    net = built("shared-gates-frozen")
    layers = [layer for layer in net.trunk.modules() if isinstance(layer, SigmoidNorm)]
    trained = [p for p in net.trunk.parameters() if p.requires_grad]
    assert len(layers) == 5 and {tuple(layer.gamma.shape) for layer in layers} == {(16,)}
    assert sum(p.numel() for p in trained) == 5 * 2 * 16  # γ and β
    given = groups(net, 0.25, multiplier=2.0, whole=True)
    assert [group["lr"] for group in given] == [0.25, 0.5, 0.5]
    moved = [p for group in given[1:] for p in group["params"] if p.requires_grad]
    assert sorted(map(id, moved)) == sorted(map(id, trained))
