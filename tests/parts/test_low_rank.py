"""Linear layers, low-rank updates and biases, of each task or of all."""

import copy

import pytest
import torch
from asserts import DOUBLE, assert_round_trips, assert_stacked_is_separate
from torch import nn

import tssbn
from tssbn.peft import LowRank, Parallel, TaskBias, TaskLinear, linear

TASKS = ("seg", "depth", "normal")


def updated(tasks, **options):
    torch.manual_seed(0)
    host = nn.Linear(5, 4)
    return Parallel(host, LowRank(5, 4, rank=2, tasks=tasks, **options)).double()


def batch():
    return torch.rand(3, 6, 5, dtype=torch.float64)


def test_nothing_is_added_at_first():
    for tasks in None, tssbn.Tasks(TASKS[:1]):
        layer, x = updated(tasks), batch()
        assert torch.equal(layer(x), layer.host(x))
        assert layer.update.down.weight.any()


def test_an_update_of_all_is_merged_into_the_matrix():
    layer, x = updated(None, scale=3.0), batch()
    nn.init.normal_(layer.update.up.weight)
    merged = copy.deepcopy(layer.host)
    merged.weight.data += 3.0 * layer.update.up.weight @ layer.update.down.weight
    torch.testing.assert_close(layer(x), merged(x), **DOUBLE)
    torch.testing.assert_close(layer.update.matrix(), merged.weight - layer.host.weight, **DOUBLE)


def test_updates_of_tasks_are_merged_into_a_matrix_of_each():
    layer, x = updated(tssbn.Tasks(TASKS)), batch()
    nn.init.normal_(layer.update.up.weight)
    net = tssbn.MultiTask(layer, {task: nn.Identity() for task in TASKS})
    matrices = layer.update.matrix()
    assert matrices.shape == (3, 4, 5) and torch.linalg.matrix_rank(matrices).tolist() == [2] * 3
    for task, matrix in zip(TASKS, matrices, strict=True):
        merged = copy.deepcopy(layer.host)
        merged.weight.data += matrix
        torch.testing.assert_close(net(x)[task], merged(x), **DOUBLE)


def test_linear_layers_of_tasks_are_those_of_pytorch():
    layer, x = TaskLinear(5, 4, tssbn.Tasks(TASKS)).double(), batch()
    bound = 5**-0.5
    assert all(0.8 * bound < p.abs().max() <= bound for p in (layer.weight, layer.bias))
    net = tssbn.MultiTask(layer, {task: nn.Identity() for task in TASKS})
    for t, task in enumerate(TASKS):
        expected = nn.functional.linear(x, layer.weight[t], layer.bias[t])
        torch.testing.assert_close(net(x)[task], expected, **DOUBLE)
    flat = x[:, 0]
    torch.testing.assert_close(net(flat)["depth"], net(x)["depth"][:, 0], **DOUBLE)
    assert type(linear(2, 3)) is nn.Linear and linear(2, 3, layer.tasks, bias=False).bias is None


class Windows(nn.Module):
    """Runs a layer on the two halves of the tokens, as rows of their own."""

    def __init__(self, inside):
        super().__init__()
        self.inside = inside

    def forward(self, x):
        return (
            self.inside(x.unflatten(1, (2, -1)).flatten(0, 1)).unflatten(0, (-1, 2)).flatten(1, 2)
        )


@pytest.mark.parametrize("wrapped", [nn.Identity, Windows])
def test_stacked_tasks_are_separate_passes(wrapped):
    torch.manual_seed(0)
    tasks = tssbn.Tasks(TASKS)
    parts = nn.Sequential(updated(tasks), TaskBias(4, tasks), nn.Tanh(), TaskLinear(4, 4, tasks))
    trunk = nn.Sequential(parts, wrapped()) if wrapped is nn.Identity else wrapped(parts)
    net = tssbn.MultiTask(trunk, {task: nn.Linear(4, 1) for task in TASKS}).double()
    for value in net.parameters():
        nn.init.normal_(value)
    net.check(batch())
    for chosen in None, TASKS[1:]:
        assert_stacked_is_separate(net, batch(), chosen)
    assert_round_trips(net)


def test_biases_stand_behind_linear_layers_and_convolutions():
    tasks = tssbn.Tasks(TASKS)
    layer = nn.Sequential(nn.Conv2d(3, 4, 1), TaskBias(4, tasks, dim=1)).double()
    x = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    net = tssbn.MultiTask(layer, {task: nn.Identity() for task in TASKS})
    assert all(torch.equal(y, layer[0](x)) for y in net(x).values())
    nn.init.normal_(layer[1].delta)
    conv = copy.deepcopy(layer[0])
    conv.bias.data += layer[1].delta[1]
    torch.testing.assert_close(net(x)["depth"], conv(x), **DOUBLE)


def test_what_they_refuse():
    with pytest.raises(ValueError, match="rank=0 must be 1 or more"):
        LowRank(4, 4, rank=0)
    with pytest.raises(ValueError, match="dim=2 must be -1, the last dimension, or 1"):
        TaskBias(4, tssbn.Tasks(TASKS), dim=2)


def test_the_shared_update_is_that_of_peft():
    peft = pytest.importorskip("peft", minversion="0.10")
    torch.manual_seed(0)
    blocks = nn.ModuleDict({"qkv": nn.Linear(5, 12), "proj": nn.Linear(5, 4)})

    class Trunk(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = copy.deepcopy(blocks)

        def forward(self, x):
            return self.attn["qkv"](x)

    config = peft.LoraConfig(r=2, lora_alpha=8, target_modules=r".*attn\.qkv", lora_dropout=0.0)
    theirs = peft.get_peft_model(Trunk(), config).double()
    ours = Parallel(copy.deepcopy(blocks["qkv"]), LowRank(5, 12, rank=2, scale=4.0)).double()
    state = {name: p for name, p in theirs.named_parameters() if p.requires_grad}
    assert [p.numel() for p in state.values()] == [p.numel() for p in ours.update.parameters()]
    for given, own in zip(state.values(), ours.update.parameters(), strict=True):
        nn.init.normal_(given)
        own.data.copy_(given)
    x = batch()
    torch.testing.assert_close(ours(x), theirs(x), **DOUBLE)
