"""PLE is CGC at every stage: what it is with forced gates, and who reads whose mixture."""

import copy

import pytest
import torch
from asserts import assert_same_outputs, assert_shared_is_what_several_losses_reach
from torch import nn
from trunks import NETWORKS, Times

from tssbn.methods import Network, cgc, ple
from tssbn.networks.stages import find_stages

OUTPUTS = {"a": 2, "b": 1, "c": 3}
CLOSE = {"rtol": 0, "atol": 1e-10}
every_trunk = pytest.mark.parametrize("kind", NETWORKS)
both_forms = pytest.mark.parametrize("shared_gate", [False, True])


def built(kind="own", **options):
    torch.manual_seed(0)
    return ple.build(NETWORKS[kind][0], OUTPUTS, **options).double()


def images(kind="own"):
    return NETWORKS[kind][0].example.double()


def choose(gates, place):
    for gate in gates.modules():
        if isinstance(gate, nn.Linear):
            nn.init.zeros_(gate.weight)
            with torch.no_grad():
                gate.bias.fill_(-1e4)[place] = 1e4


@both_forms
@every_trunk
def test_gates_that_choose_one_kind_make_it_hard_sharing_or_single_task(kind, shared_gate):
    net, x = built(kind, shared_gate=shared_gate), images(kind)
    twin = copy.deepcopy(net)
    choose(net.gates, 0), choose(net.shared_gates, 0)
    (common,) = twin.common
    features = common(x)
    assert_same_outputs(net(x), {t: head(features) for t, head in twin.heads.items()}, **CLOSE)
    choose(net.gates, 1)
    own = {task: head(twin.own[task][0](x)) for task, head in twin.heads.items()}
    assert_same_outputs(net(x), own, **CLOSE)


def test_a_single_stage_is_cgc():
    made = NETWORKS["celeba"][0]
    network = Network(lambda: nn.Sequential(made.trunk()), made.head, made.example)
    nets = []
    for method in ple, cgc:
        torch.manual_seed(0)
        nets.append(method.build(network, OUTPUTS, shared_experts=2, own_experts=2).double())
    assert_same_outputs(nets[0](images("celeba")), nets[1](images("celeba")), **CLOSE)


@every_trunk
def test_with_a_shared_gate_what_leads_to_shared_experts_is_shared(kind):
    assert_shared_is_what_several_losses_reach(built(kind, shared_gate=True), images(kind))


@both_forms
def test_shared_experts_run_for_each_task_or_once(shared_gate):
    net = built(shared_gate=shared_gate)
    net(images())
    assert int(net.common[0].fine[1].num_batches_tracked) == (1 if shared_gate else 3)
    assert int(net.own["a"][0].fine[1].num_batches_tracked) == 1


@both_forms
def test_only_a_shared_gate_shows_a_task_what_another_chose(shared_gate):
    net, x = built("sequential", shared_gate=shared_gate), images("sequential")
    before = net(x)["a"]
    nn.init.normal_(net.own["b"][0][0][0].weight)
    assert torch.equal(net(x)["a"], before) != shared_gate


@pytest.mark.parametrize("shared_gate", [False, True])
def test_by_hand(shared_gate):
    """Two stages: the shared expert's are 2 and 3, a's own 5 and 7, b's own 11 and 13."""
    factors = iter([2, 3, 5, 7, 11, 13])
    x = torch.ones(1, 1).double()
    network = Network(
        lambda: nn.Sequential(Times(next(factors)), Times(next(factors))), lambda n: Times(1), x
    )
    net = ple.build(network, {"a": 1, "b": 1}, shared_gate=shared_gate).double()
    for gate in (*net.gates["a"], *net.gates["b"], *net.shared_gates):  # all weights are equal
        nn.init.zeros_(gate[0].weight), nn.init.zeros_(gate[0].bias)
    a, b, shared = (2 + 5) / 2, (2 + 11) / 2, (2 + 5 + 11) / 3
    expected = (
        {"a": (3 * shared + 7 * a) / 2, "b": (3 * shared + 13 * b) / 2}
        if shared_gate
        else {"a": (3 * a + 7 * a) / 2, "b": (3 * b + 13 * b) / 2}
    )
    assert {task: y.item() for task, y in net(x).items()} == pytest.approx(expected)


@both_forms
@pytest.mark.parametrize("gate", ["pooled", "image"])
def test_sizes_of_the_gates(gate, shared_gate):
    net, example = built("celeba", gate=gate, shared_gate=shared_gate), images("celeba")
    shapes = [example.shape[1:], *(s.shape for s in find_stages(net.common[0], example)[:-1])]
    sizes = [torch.Size(shape).numel() if gate == "image" else shape[0] for shape in shapes]
    for gates in net.gates.values():
        assert [tuple(gate[0].weight.shape) for gate in gates] == [(2, size) for size in sizes]
    shared = [tuple(gate[0].weight.shape) for gate in net.shared_gates]
    assert shared == [(4, size) for size in sizes[:-1]] * shared_gate


def test_what_cannot_be_built():
    network = NETWORKS["own"][0]
    with pytest.raises(ValueError, match="shared_gate=True needs shared experts"):
        ple.build(network, OUTPUTS, shared_experts=0, shared_gate=True)
    plain = Network(nn.Identity, nn.Identity, network.example)
    with pytest.raises(TypeError, match="stages of a trunk of type Identity are not known"):
        ple.build(plain, OUTPUTS)
