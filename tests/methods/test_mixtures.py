"""M³ViT, Mod-Squad, MLoRE and TaskExpert as multi-task networks, and what they refuse."""

import copy
import pickle
from functools import partial

import pytest
import torch
from asserts import ABSOLUTE, assert_is_multitask, assert_only_own_rows_move, assert_same_outputs
from torch import nn

pytest.importorskip("timm")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from tiny_mixtures import OUTPUTS, built, images
from tiny_transformers import NETWORKS
from transformer_methods import MIXTURES

from tssbn import export
from tssbn.cost import parameters
from tssbn.methods import Network, find_method, m3vit, mod_squad
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.networks.vit import ViT

CASES = [("m3vit", "vit"), ("m3vit", "swin"), ("mod-squad", "vit"), ("taskexpert", "vit")]
CASES += [("mlore", "vit")]
every_case = pytest.mark.parametrize(("method", "kind"), CASES)


@every_case
def test_it_is_a_multi_task_network_all_of_whose_tasks_share_a_pass(method, kind):
    net, x = built(method, kind), images(kind)
    assert_is_multitask(net, x)
    assert {task: y.shape for task, y in net(x).items()} == {
        task: (3, channels, *x.shape[2:]) for task, channels in OUTPUTS.items()
    }
    assert built(method, kind, {"a": 2}).shared() == []
    if method == "taskexpert":
        return
    net.tasks_per_pass = 1
    assert net.tasks_per_pass is None and list(net.passes()) == [("a", "b", "c")]


@every_case
def test_stacked_tasks_are_each_task_alone(method, kind):
    net, x = built(method, kind), images(kind)
    net(x)  # statistics
    net.eval()
    together = net(x)
    for task in OUTPUTS:
        assert_same_outputs(net(x, [task]), {task: together[task]}, **ABSOLUTE)
        one = net(x[:1], [task])  # a single image has no stem
        assert_same_outputs(one, {task: together[task][:1]}, **ABSOLUTE)
    assert_same_outputs(net(x, ["c", "a"]), {t: together[t] for t in ("a", "c")}, **ABSOLUTE)


@every_case
def test_a_loss_reaches_the_rows_of_its_task_alone(method, kind):
    net = built(method, kind)
    if method == "taskexpert":  # at first a memory is 0, and so is what its weights learn
        net.eval().trunk.decoder.recall[0][0].weight.requires_grad_(False)
    for name, value in net.named_parameters():
        if name.endswith("place.bias"):  # the norm layer that follows takes it away again
            value.requires_grad_(False)
    assert_only_own_rows_move(net, "b", images(kind))


@every_case
def test_copies_are_networks_of_their_own(method, kind):
    net, x = built(method, kind), images(kind)
    net(x)
    net.eval()
    before = net(x)
    for twin in copy.deepcopy(net), pickle.loads(pickle.dumps(net)):
        assert_same_outputs(twin(x), before, rtol=0, atol=0)
        with torch.no_grad():
            for value in twin.parameters():
                value.fill_(0.5)
        assert not torch.equal(twin(x)["a"], before["a"])
        assert_same_outputs(net(x), before, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:torch.fx cannot follow")  # how many tokens an expert gets
@every_case
def test_one_task_as_a_network_of_its_own(method, kind):
    net, x = built(method, kind), images(kind)
    net(x)
    net.eval()
    single = export.task(net, "b", example=x)
    torch.testing.assert_close(single(x), net(x)["b"], rtol=0, atol=1e-12)
    assert parameters(single) < parameters(net)


@every_case
def test_a_task_can_be_added(method, kind):
    net, x = built(method, kind).eval(), images(kind)
    before = net(x)
    net.add_task("d", NETWORKS[kind].head(1).double().eval(), like="b")
    after = net(x)
    assert list(after) == ["a", "b", "c", "d"]
    for task in before:
        torch.testing.assert_close(after[task], before[task], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", MIXTURES)
def test_other_trunks_are_refused(method):
    plain = Network(
        lambda: nn.Conv2d(3, 4, 3), lambda n: nn.Conv2d(4, n, 1), torch.rand(2, 3, 9, 9)
    )
    with pytest.raises(UnsuitableTrunk, match="trunk of type Conv2d"):
        find_method(method).build(plain, OUTPUTS)
    if method != "m3vit":
        with pytest.raises(UnsuitableTrunk, match="trunk of type Swin"):
            built(method, "swin")


def test_m3vit_and_mod_squad_take_a_vit_of_several_maps():
    class Join(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.last = nn.Conv2d(48, channels, 1)

        def forward(self, maps):
            return self.last(torch.cat(maps, 1))

    trunk = partial(ViT, (16, 16), width=24, depth=2, heads=2, patch=8, taps=(1, 2))
    network = Network(trunk, Join, torch.rand(2, 3, 16, 16))
    for method in m3vit, mod_squad:
        net = method.build(network, OUTPUTS)
        assert [y.shape[1] for y in net(network.example).values()] == [2, 1, 3]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("m3vit", {"experts": 3}, "experts=3, of which 4 are chosen"),
        ("m3vit", {"top": 0}, "of which 0 are chosen"),
        ("m3vit", {"evenness": -1.0}, "evenness=-1.0 must be 0 or more"),
        ("m3vit", {"top": 5}, "96 hidden channels cannot be cut into 5 equal slices"),
        ("mod-squad", {"attention_experts": 1}, "attention_experts=1, of which 2 are chosen"),
        ("mod-squad", {"top": 17}, "experts=16, of which 17 are chosen"),
        ("mod-squad", {"information": -0.1}, "information=-0.1 must be 0 or more"),
        ("mlore", {"top": 16}, "experts=4, of which 16 are chosen"),
        ("mlore", {"least": 0}, "least=0, step=4 and own=3 give ranks below 1"),
        ("mlore", {"step": -3}, "least=8, step=-3 and own=3 give ranks below 1"),
        ("taskexpert", {"experts": 0}, "experts=0 must be 1 or more"),
    ],
)
def test_what_cannot_be_built(method, options, message):
    with pytest.raises(ValueError, match=message):
        built(method, **options)
