"""Methods that mix several trunks between their stages need nothing but the stages.

PLE (Tang et al., RecSys 2020) mixes experts after every stage; LTB (Guo et al., ICML 2020) lets
each task choose after which trunk its next stage comes.
"""

import pytest
import torch
from asserts import assert_shared_is_what_several_losses_reach
from torch import nn
from torch.nn import functional as F
from trunks import NETWORKS

from tssbn import MultiTaskNetwork
from tssbn.methods import hard_sharing, heads, single
from tssbn.networks.stages import find_stages, stages

OUTPUTS = {"a": 2, "b": 1, "c": 3}
every_trunk = pytest.mark.parametrize("kind", NETWORKS)


class PLE(nn.Module):
    """A shared trunk, one of each task, and a gate of each task after every stage."""

    tasks_per_pass = None

    def __init__(self, network, outputs):
        super().__init__()
        self.tasks = tuple(outputs)
        self.common = network.trunk()
        self.own = nn.ModuleDict({task: network.trunk() for task in outputs})
        widths = [3, *(stage.shape[0] for stage in find_stages(self.common, network.example)[:-1])]
        self.gates = nn.ModuleDict(
            {task: nn.ModuleList(nn.Linear(width, 2) for width in widths) for task in outputs}
        )
        self.heads = heads(network, outputs)

    def passes(self):
        yield self.tasks

    def shared(self):
        return list(self.common.parameters()) if self.tasks[1:] else []

    def forward(self, x, tasks=None):
        return {t: self.heads[t](self.features(t, x)) for t in self.tasks if t in (tasks or [t])}

    def features(self, task, x):
        runs = [stages(trunk, x) for trunk in (self.common, self.own[task])]
        sent = None
        for gate in self.gates[task]:
            weights = gate(x.flatten(2).mean(2) if x.ndim > 2 else x).softmax(1)
            x = torch.einsum("be,eb...->b...", weights, torch.stack([r.send(sent) for r in runs]))
            sent = x
        return x


class LTB(nn.Module):
    """A trunk of each task; before each stage but the first, and the head, it chooses a source."""

    tasks_per_pass = None
    progress = 0.0  # of the training, from 0 to 1

    def __init__(self, network, outputs):
        super().__init__()
        self.tasks = tuple(outputs)
        self.trunks = nn.ModuleDict({task: network.trunk() for task in outputs})
        self.heads = heads(network, outputs)
        depth = len(find_stages(self.trunks[self.tasks[0]], network.example))
        self.choices = nn.Parameter(torch.zeros(depth, len(outputs), len(outputs)))

    def passes(self):
        yield self.tasks

    def shared(self):
        return [self.choices, *self.trunks.parameters()] if self.tasks[1:] else []

    def forward(self, x, tasks=None):
        runs = [stages(trunk, x) for trunk in self.trunks.values()]
        features = [next(run) for run in runs]
        *between, final = self.choices
        for logits in between:
            features = [r.send(y) for r, y in zip(runs, self.choose(logits, features), strict=True)]
        given = dict(zip(self.tasks, self.choose(final, features), strict=True))
        return {t: self.heads[t](given[t]) for t in self.tasks if t in (tasks or [t])}

    def choose(self, logits, features):
        if self.training:
            weights = F.gumbel_softmax(logits, tau=2.0 - self.progress, hard=True)
        else:
            weights = F.one_hot(logits.argmax(1), len(features)).to(logits)
        return torch.einsum("ts,sb...->tb...", weights, torch.stack(features))


def built(method, kind):
    torch.manual_seed(2)
    return method(NETWORKS[kind][0], OUTPUTS).double()


def images(kind):
    return NETWORKS[kind][0].example.double()


def check_same(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def separate(trunks, network_heads):
    return single.SingleTask(
        {task: nn.Sequential(trunks[task], network_heads[task]) for task in OUTPUTS}
    )


def always(gates, expert):
    """Let all gates choose one expert."""
    for gate in gates.modules():
        if isinstance(gate, nn.Linear):
            nn.init.zeros_(gate.weight)
            with torch.no_grad():
                gate.bias.copy_(torch.tensor([-1e4, -1e4]).index_fill(0, torch.tensor(expert), 1e4))


@every_trunk
def test_ple_whose_gates_choose_one_expert_is_hard_sharing_or_single_task(kind):
    net, x = built(PLE, kind), images(kind)  # batch statistics
    always(net.gates, 0)
    check_same(net(x), hard_sharing.MultiTask(net.common, net.heads)(x))
    always(net.gates, 1)
    check_same(net(x), separate(net.own, net.heads)(x))


def test_ple_of_a_single_stage_mixes_what_whole_trunks_give():
    whole, x = NETWORKS["segnet"][0], images("segnet")
    net = PLE(type(whole)(lambda: nn.Sequential(whole.trunk()), whole.head, whole.example), OUTPUTS)
    net.double().eval()
    for task, y in net(x).items():
        weights = net.gates[task][0](x.mean((2, 3))).softmax(1)[:, :, None, None, None]
        mixed = weights[:, 0] * net.common(x) + weights[:, 1] * net.own[task](x)
        torch.testing.assert_close(y, net.heads[task](mixed), rtol=0, atol=1e-12)


@every_trunk
def test_ltb_of_which_each_chooses_its_own_or_all_the_same(kind):
    net, x = built(LTB, kind).eval(), images(kind)
    with torch.no_grad():
        net.choices.copy_(torch.eye(3))
        check_same(net(x), separate(net.trunks, net.heads)(x))
        net.choices.zero_()[:, :, 1] = 1
        check_same(net(x), hard_sharing.MultiTask(net.trunks["b"], net.heads)(x))


@every_trunk
@pytest.mark.parametrize("method", [PLE, LTB])
def test_shared_parameters_are_those_that_more_than_one_loss_reaches(method, kind):
    net, x = built(method, kind), images(kind)
    assert isinstance(net, MultiTaskNetwork)
    assert_shared_is_what_several_losses_reach(net, x)


@every_trunk
@pytest.mark.parametrize("method", [PLE, LTB])
def test_a_mixture_learns(method, kind):
    net, x = built(method, kind), images(kind)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    start = None
    for step in range(8):
        net.progress = step / 8
        loss = sum((y - 1).square().mean() for y in net(x).values())
        start = start or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.9 * start
