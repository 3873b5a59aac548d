"""Between TSσBN and HPS: gates from a stage on."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from asserts import (
    assert_is_multitask,
    assert_same_network,
    assert_same_outputs,
    assert_stacked_is_separate,
)
from torch import nn
from trunks import NETWORKS

from tssbn.benchmarks import find_benchmark
from tssbn.cost import macs
from tssbn.methods import Network, find_method
from tssbn.methods.deep_gates import modules_by_stage
from tssbn.networks.efficientnet import LiteDecoder, lite0
from tssbn.networks.stages import last, stages
from tssbn.norm import SigmoidNorm, TaskSigmoidNorm

OUTPUTS = {"a": 2, "b": 1, "c": 3}
KINDS = (SigmoidNorm, TaskSigmoidNorm)
every_trunk = pytest.mark.parametrize("kind", NETWORKS)
every_stage = pytest.mark.parametrize(
    ("kind", "first"),
    [(kind, k) for kind, (_, n) in NETWORKS.items() for k in sorted({1, n // 2, n - 1})],
)


def built(method, kind, **options):
    torch.manual_seed(0)
    network = NETWORKS[kind][0]
    net = find_method(method).build(network, OUTPUTS, **options).double()
    return net, network.example.double()


def stir(net):
    """Gates that are no longer alike."""
    random = torch.Generator().manual_seed(1)
    for layer in net.modules():
        if isinstance(layer, KINDS):
            layer.gamma.data.normal_(generator=random)
    return net


@every_trunk
def test_the_ends_are_tssbn_and_hps_or_shared_gates(kind):
    every = NETWORKS[kind][1]
    for options, method in (
        ({"first": 0}, "tssbn"),
        ({"first": 0, "shared": "sigmoid"}, "tssbn"),
        ({"first": every}, "hps"),
        ({"first": every, "shared": "sigmoid"}, "shared-gates"),
    ):
        (net, x), (other, _) = built("deep-gates", kind, **options), built(method, kind)
        assert_same_network(net, other)
        outputs, expected = net(x), other(x)
        assert all(torch.equal(y, expected[task]) for task, y in outputs.items())
        groups = [find_method(m).groups(n, 0.5) for m, n in (("deep-gates", net), (method, other))]
        assert [[len(g["params"]), g["lr"]] for g in groups[0]] == [
            [len(g["params"]), g["lr"]] for g in groups[1]
        ]


@every_stage
@pytest.mark.parametrize("shared", ["plain", "sigmoid"])
def test_it_is_tssbn_whose_first_layers_all_tasks_share(kind, first, shared):
    """A trunk of each task, in which what is shared has the same values, gives the same."""
    net, x = built("deep-gates", kind, first=first, shared=shared)
    stir(net)
    together = net.train()(x)
    for row, task in enumerate(OUTPUTS):
        alone = NETWORKS[kind][0].trunk().double()
        state = alone.state_dict()
        given = net.trunk.state_dict()
        for name in state:
            path, _, last = name.rpartition(".")
            if f"{path}.gamma" in given and last in ("weight", "bias"):
                gamma = given[f"{path}.gamma"]
                gate = (gamma[row] if gamma.ndim == 2 else gamma).sigmoid()
                state[name] = gate if last == "weight" else torch.zeros_like(gate)
            elif last not in ("running_mean", "running_var", "num_batches_tracked"):
                state[name] = given[name]
        alone.load_state_dict(state)
        torch.testing.assert_close(together[task], net.heads[task](alone.train()(x)))


@every_stage
def test_separate_passes_and_subsets_give_the_same(kind, first):
    net, x = built("deep-gates", kind, first=first)
    stir(net)
    net(x)  # statistics
    net.eval()
    expected = net(x)
    assert_stacked_is_separate(net, x)
    assert_same_outputs(net(x, ["c"]), {"c": expected["c"]})
    assert_same_outputs(net(x[:1]), {task: y[:1] for task, y in expected.items()})


@every_trunk
def test_shared_statistics_move_as_those_of_hps(kind):
    """Images count once, however many tasks run."""
    every = NETWORKS[kind][1]
    (net, x), (plain, _) = built("deep-gates", kind, first=every - 1), built("hps", kind)
    net.train()(x), plain.train()(x)
    ours, theirs = (dict(one.trunk.named_buffers()) for one in (net, plain))
    same = [name for name, value in theirs.items() if value.shape == ours[name].shape]
    for name in same:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-10, atol=1e-12)
    assert same


@every_trunk
def test_the_cost_falls_from_tssbn_to_hps_as_stages_are_shared(kind):
    every, x = NETWORKS[kind][1], NETWORKS[kind][0].example.double()
    costs = [macs(built("deep-gates", kind, first=k)[0], x) for k in range(every + 1)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == macs(built("tssbn", kind)[0], x)
    assert costs[-1] == macs(built("hps", kind)[0], x) < costs[0]
    if kind not in ("sequential", "own"):  # whose only norm layer is in the first stage
        assert len(set(costs)) == every + 1


def test_the_cost_is_that_of_one_pass_however_many_a_step_makes():
    net, x = built("deep-gates", "celeba", first=3)
    whole = macs(net, x)
    net.tasks_per_pass = 1
    assert macs(net, x) == whole and net.tasks_per_pass == 1


@pytest.mark.parametrize(("name", "every"), [("rooms", 7), ("faces", 5), ("census", 3)])
def test_it_costs_no_more_than_tssbn_with_the_stem_of_a_benchmark(name, every):
    network = find_benchmark(name)().network
    with torch.device("meta"):
        x = network.example.to("meta")
        make = find_method("deep-gates").build
        costs = [macs(make(network, OUTPUTS, first=k), x) for k in (0, 1, 2, every)]
        assert costs[0] == macs(find_method("tssbn").build(network, OUTPUTS), x)
        assert costs[-1] == macs(find_method("hps").build(network, OUTPUTS), x)
    assert costs == sorted(costs, reverse=True)


@every_stage
def test_it_keeps_the_contract(kind, first):
    net, x = built("deep-gates", kind, first=first)
    assert_is_multitask(net, x)


def test_gates_of_all_kinds_learn_at_their_rate():
    net, _ = built("deep-gates", "celeba", first=2, shared="sigmoid")
    shared, gates = find_method("deep-gates").groups(net, 0.5, multiplier=10.0)
    kinds = [m for m in net.modules() if isinstance(m, KINDS)]
    assert {id(layer.gamma) for layer in kinds} == set(map(id, gates["params"]))
    assert [len(layer.gamma.shape) for layer in kinds] == [1] * 3 + [2] * 6
    assert gates["lr"] == 5 and shared["lr"] == 0.5


def short():
    """An EfficientNet of all stages, with one block each."""
    trunk = lite0()
    trunk.blocks = nn.Sequential(*(stage[:1] for stage in trunk.blocks))
    return trunk


def test_an_efficientnet_that_gives_several_maps():
    torch.manual_seed(0)
    trunk, x = short().double(), torch.rand(2, 3, 32, 32).double()
    for got, expected in zip(last(stages(trunk, x)), trunk(x), strict=True):
        torch.testing.assert_close(got, expected)
    assert len(modules_by_stage(trunk, x)) == 8
    network, outputs = Network(short, partial(LiteDecoder, width=8), x.float()), {"a": 2, "b": 1}

    def make(method, **options):
        torch.manual_seed(0)
        return find_method(method).build(network, outputs, **options).double()

    nets = {first: make("deep-gates", first=first) for first in (0, 4, 8)}
    hps = make("hps")
    assert_same_network(nets[8], hps)
    net = stir(make("deep-gates", first=5, shared="sigmoid"))
    net(x)
    assert_stacked_is_separate(net.eval(), x)
    kinds = [type(layer) for layer in net.trunk.modules() if isinstance(layer, KINDS)]
    assert len(kinds) == 21 and [issubclass(kind, SigmoidNorm) for kind in kinds] == sorted(
        (issubclass(kind, SigmoidNorm) for kind in kinds), reverse=True
    )
    costs = [macs(net, x) for net in nets.values()]
    assert costs == sorted(set(costs), reverse=True) and costs[2] == macs(hps, x)


class Twice(nn.Module):
    """A layer that an early and a late stage use."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.deep = nn.BatchNorm2d(3)

    def forward_stages(self, x):
        x = self.block(x)
        yield x
        x = self.deep(self.block[1](x))
        yield x

    def forward(self, x):
        *_, x = self.forward_stages(x)
        return x


def test_a_layer_of_an_early_and_a_late_stage_is_the_tasks_own():
    network = replace(NETWORKS["sequential"][0], trunk=Twice, head=lambda n: nn.Conv2d(3, n, 1))
    assert modules_by_stage(Twice(), network.example) == [
        {"block", "block.0", "block.1"},
        {"block.1", "deep"},
    ]
    torch.manual_seed(0)
    net = stir(find_method("deep-gates").build(network, OUTPUTS).double())
    assert isinstance(net.trunk.block[1], TaskSigmoidNorm)
    x = network.example.double()
    together = net(x)
    net.tasks_per_pass = 1
    assert_same_outputs(net(x), together)


def test_what_it_refuses():
    with pytest.raises(ValueError, match="first=6 must be from 0 to 5, the stages of CelebANet"):
        built("deep-gates", "celeba", first=6)
    with pytest.raises(ValueError, match="shared='tanh' is unknown, use one of plain, sigmoid"):
        built("deep-gates", "celeba", shared="tanh")
