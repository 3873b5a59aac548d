"""MMoE and CGC are mixtures of whole trunks: which gates make them HPS, STL, or each other."""

import copy
import inspect

import pytest
import torch
from asserts import assert_same_outputs
from torch import nn
from trunks import NETWORKS

from tssbn.methods import Network, cgc, dselect_k, find_method, hard_sharing, mmoe, ple, single
from tssbn.methods.experts import Flattened, Pooled, mix

OUTPUTS = {"a": 2, "b": 1, "c": 3}
EXACT = {"rtol": 0, "atol": 0}
every_trunk = pytest.mark.parametrize("kind", ["dilated", "celeba", "unet"])


def built(method, kind="celeba", outputs=OUTPUTS, seed=0, **options):
    torch.manual_seed(seed)
    return method.build(NETWORKS[kind][0], outputs, **options).double()


def images(kind="celeba"):
    return NETWORKS[kind][0].example.double()


def choose(net, place):
    """Let all gates put all weight on one of the experts that they see."""
    for gate in net.gates.values():
        nn.init.zeros_(gate[0].weight)
        with torch.no_grad():
            gate[0].bias.fill_(-1e4)[place] = 1e4


def scatter(net):
    for gate in net.gates.values():
        nn.init.normal_(gate[0].weight, std=3)


@every_trunk
def test_one_expert_is_hard_sharing(kind):
    net, other = built(mmoe, kind, experts=1), built(hard_sharing, kind)
    scatter(net)
    assert_same_outputs(net(images(kind)), other(images(kind)), **EXACT)
    assert_same_outputs(net.eval()(images(kind)), other.eval()(images(kind)), **EXACT)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_gate_of_one_expert_is_hard_sharing_on_it(place):
    net = built(mmoe, experts=3)
    choose(net, place)
    trunk = copy.deepcopy(net.experts[place])
    expected = {task: head(trunk(images())) for task, head in net.heads.items()}
    assert_same_outputs(net(images()), expected, **EXACT)


@every_trunk
def test_cgc_of_one_kind_of_experts_is_hard_sharing_or_single_task(kind):
    net, x = built(cgc, kind), images(kind)
    common, *own = copy.deepcopy(net.experts)
    choose(net, 0)
    expected = {task: head(common(x)) for task, head in net.heads.items()}
    assert_same_outputs(net(x), expected, **EXACT)
    choose(net, 1)
    apart = zip(net.heads.items(), own, strict=True)
    assert_same_outputs(net(x), {t: head(trunk(x)) for (t, head), trunk in apart}, **EXACT)


def test_cgc_without_own_experts_is_mmoe():
    net, other = built(cgc, shared_experts=3, own_experts=0), built(mmoe, experts=3)
    assert_same_outputs(net(images()), other(images()), **EXACT)
    assert list(net.state_dict()) == list(other.state_dict())


def test_cgc_without_shared_experts_is_single_task():
    net, apart = built(cgc, shared_experts=0), built(single)
    for (trunk, head), expert, mine in zip(
        apart.networks.values(), net.experts, net.heads.values(), strict=True
    ):
        trunk.load_state_dict(expert.state_dict())
        head.load_state_dict(mine.state_dict())
    assert_same_outputs(net(images()), apart(images()), **EXACT)
    assert net.shared() == []


@every_trunk
@pytest.mark.parametrize("method", [mmoe, cgc, ple, dselect_k])
def test_equal_experts_are_hard_sharing_whatever_the_gates(method, kind):
    """As at the start of experts that are all pretrained; of DSelect-k with two or four experts."""
    torch.manual_seed(0)
    trunk, made = NETWORKS[kind][0].trunk(), NETWORKS[kind][0]
    network = Network(lambda: copy.deepcopy(trunk), made.head, made.example)
    options = {"experts": 4} if "experts" in inspect.signature(method.build).parameters else {}
    net = method.build(network, OUTPUTS, **options).double()
    for name, parameter in net.named_parameters():
        if "gates" in name:
            nn.init.normal_(parameter)
    shared, x = copy.deepcopy(trunk).double(), images(kind)
    expected = {task: head(shared(x)) for task, head in net.heads.items()}
    assert_same_outputs(net(x), expected)


def test_weights_of_a_gate_are_a_mixture_for_each_image():
    net = built(mmoe, experts=3)
    scatter(net)
    weights = net.gates["a"](images())
    assert weights.shape == (4, 3) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(4).double())
    assert not torch.allclose(weights[0], weights[1])
    features = [expert(images()) for expert in net.experts]
    by_hand = sum(weights[:, k, None] * features[k] for k in range(3))
    torch.testing.assert_close(net(images())["a"], net.heads["a"](by_hand))


def test_the_order_of_experts_does_not_matter():
    net = built(mmoe, experts=3)
    scatter(net)
    twin, order = copy.deepcopy(net), [2, 0, 1]
    twin.experts = nn.ModuleList(twin.experts[k] for k in order)
    for gate in twin.gates.values():
        gate[0].weight.data, gate[0].bias.data = gate[0].weight[order], gate[0].bias[order]
    assert_same_outputs(net(images()), twin(images()))


@pytest.mark.parametrize("method", [mmoe, cgc])
def test_a_loss_reaches_what_its_task_reads_and_no_more(method):
    net = built(method)
    net(images())["b"].square().sum().backward()
    reached = {name for name, p in net.named_parameters() if p.grad is not None}
    read = [f"experts.{place}." for place in net.reads["b"]]
    starts = (*read, "gates.b.", "heads.b.")
    assert reached == {name for name, _ in net.named_parameters() if name.startswith(starts)}
    assert all((p.grad != 0).any() for p in net.gates["b"].parameters())
    for place in net.reads["b"]:
        assert all((p.grad != 0).any() for p in net.experts[place].parameters() if p.ndim > 1)


def test_experts_that_nobody_reads_rest():
    net = built(cgc)
    net(images(), ["b"])
    steps = [
        {int(v) for k, v in expert.state_dict().items() if k.endswith("num_batches_tracked")}
        for expert in net.experts
    ]
    assert steps == [{1}, {0}, {1}, {0}]  # shared, of a, of b, of c


def test_a_trunk_may_give_a_tree_of_maps():
    class Taps(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.coarse = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 2, 1, stride=2)

        def forward(self, x):
            return {"fine": self.fine(x), "coarse": [self.coarse(x)]}

    class Head(nn.Module):
        def forward(self, taps):
            return taps["fine"].mean((1, 2, 3)) + 10 * taps["coarse"][0].mean((1, 2, 3))

    x = torch.rand(4, 3, 6, 6)
    network = Network(Taps, lambda n: Head(), x)
    net = mmoe.build(network, {"a": 1}).double()
    weights, head = net.gates["a"](x.double()), net.heads["a"]
    one, other = (head(expert(x.double())) for expert in net.experts)
    torch.testing.assert_close(net(x.double())["a"], weights[:, 0] * one + weights[:, 1] * other)


def test_mixing_by_hand():
    features = [torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), torch.ones(2, 1, 2)]
    given = mix(torch.tensor([[2.0, 1.0], [0.5, 10.0]]), features)
    assert given.tolist() == [[[3, 5]], [[11.5, 12]]]


def test_a_pooled_gate_is_one_of_the_image_with_equal_weights_of_a_channel():
    x = torch.rand(4, 3, 5, 6).double()
    pooled, whole = Pooled(3, 2).double(), Flattened(90, 2).double()
    whole.weight.data = (pooled.weight / 30).repeat_interleave(30, 1)
    whole.bias = pooled.bias
    torch.testing.assert_close(whole(x), pooled(x))
    assert torch.equal(pooled(x.mean((2, 3))), pooled(x))


@pytest.mark.parametrize("method", ["mmoe", "cgc", "ple", "dselect-k"])
def test_what_cannot_be_built_or_run(method):
    build, network = find_method(method).build, NETWORKS["celeba"][0]
    with pytest.raises(ValueError, match="gate='x' is unknown, use one of pooled, image"):
        build(network, OUTPUTS, gate="x")
    net = build(network, OUTPUTS, gate="image")
    with pytest.raises(ValueError, match="a gate of 768 values got 3072 of each image"):
        net(torch.rand(2, 3, 32, 32))
    number = "experts" if method in ("mmoe", "dselect-k") else "shared_experts"
    with pytest.raises(ValueError, match=f"{number}=-1.* must be"):
        build(network, OUTPUTS, **{number: -1})
    with pytest.raises(ValueError, match="unknown tasks"):
        net(network.example, ["d"])
