"""One exact value for each public class and function of the core, by hand.

With a tiny ε a channel that is 1 and 5 has mean 3 and deviation 2, so its x̂ is -1 and 1; gates are
a quarter, a half and three quarters.
"""

import math

import pytest
import torch
from torch import nn

import tssbn
from tssbn import export, gates, gradients, pruning
from tssbn.cost import delta_m, macs, parameters
from tssbn.export.plain import mean_norm, task_affine
from tssbn.export.trees import distances, greedy, tree_by_similarity

EPS = 1e-12  # PyTorch refuses 0
ROOT = math.sqrt(0.5)
LN3 = math.log(3)  # σ(ln 3) = 3/4, σ(-ln 3) = 1/4
PLACE = torch.tensor([[1.0], [5.0]], dtype=torch.float64)  # one channel of two images


def assert_is(found, expected):
    expected = torch.as_tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-6, atol=1e-9)


def of_tasks(layer, x):
    """Two tasks through one layer, stacked."""
    net = tssbn.MultiTask(layer, {"a": nn.Identity(), "b": nn.Identity()})
    return net(x)


# -- layers of one task ---------------------------------------------------------------------------

SIGMOID = {
    "SigmoidBatchNorm1d": (1, {}, [[1.0], [5.0]], [[-0.25], [0.25]]),
    "SigmoidBatchNorm2d": (1, {}, [[[[1.0]]], [[[5.0]]]], [[[[-0.25]]], [[[0.25]]]]),
    "SigmoidBatchNorm3d": (1, {}, [[[[[1.0, 5.0]]]]], [[[[[-0.25, 0.25]]]]]),
    "SigmoidLayerNorm": (2, {}, [[1.0, 5.0]], [[-0.25, 0.75]]),
    "SigmoidRMSNorm": (2, {}, [[1.0, 7.0]], [[0.05, 1.05]]),  # the mean square is 25
    "SigmoidGroupNorm": (4, {}, [[1.0, 5.0, 10.0, 30.0]], [[-0.25, 0.75, -0.25, 0.75]]),
    "SigmoidInstanceNorm1d": (2, {}, [[[1.0, 5.0], [2.0, 8.0]]], [[[-0.25, 0.25], [-0.75, 0.75]]]),
    "SigmoidInstanceNorm2d": (1, {}, [[[[1.0], [5.0]]]], [[[[-0.25], [0.25]]]]),
    "SigmoidInstanceNorm3d": (1, {}, [[[[[1.0, 5.0]]]]], [[[[[-0.25, 0.25]]]]]),
}


@pytest.mark.parametrize("name", SIGMOID)
def test_sigmoid_layers(name):
    channels, options, x, expected = SIGMOID[name]
    args = (2, channels) if "Group" in name else (channels,)
    layer = getattr(tssbn, name)(*args, eps=EPS, dtype=torch.float64, **options)
    quarters = torch.tensor([-LN3, LN3] * 2, dtype=torch.float64)[:channels]
    layer.gamma.data.copy_(quarters)
    assert_is(layer(torch.tensor(x, dtype=torch.float64)), expected)


# -- layers of several tasks ----------------------------------------------------------------------

SHAPES = {
    "TaskSigmoidBatchNorm1d": (2, 1),
    "TaskSigmoidBatchNorm2d": (2, 1, 1, 1),
    "TaskSigmoidBatchNorm3d": (2, 1, 1, 1, 1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_task_specific_batch_norm(name):
    """Training, the statistics after one step, and evaluation with others."""
    layer = getattr(tssbn, name)(1, tssbn.Tasks(("a", "b")), eps=EPS).double()
    layer.gamma.data.copy_(torch.tensor([[-LN3], [LN3]]))
    found = of_tasks(layer, PLACE.view(SHAPES[name]))
    assert_is(found["a"].flatten(), [-0.25, 0.25])
    assert_is(found["b"].flatten(), [-0.75, 0.75])
    assert_is(layer.running_mean, [[0.3], [0.3]])  # a tenth of 3
    assert_is(layer.running_var, [[1.7], [1.7]])  # 0.9 of 1, and a tenth of 8, unbiased
    layer.eval().running_mean.copy_(torch.tensor([[1.0], [5.0]]))
    layer.running_var.copy_(torch.tensor([[4.0], [16.0]]))
    found = of_tasks(layer, PLACE.view(SHAPES[name]))
    assert_is(found["a"].flatten(), [0.0, 0.5])
    assert_is(found["b"].flatten(), [-0.75, 0.0])


def test_task_specific_layer_norm():
    layer = tssbn.TaskSigmoidLayerNorm(2, tssbn.Tasks(("a", "b")), eps=EPS).double()
    layer.gamma.data.copy_(torch.tensor([[-LN3, LN3], [0.0, -LN3]]))
    found = of_tasks(layer, torch.tensor([[1.0, 5.0]], dtype=torch.float64))
    assert_is(found["a"], [[-0.25, 0.75]])
    assert_is(found["b"], [[-0.5, 0.25]])


# -- conversions ----------------------------------------------------------------------------------


def batch_norm(weight=2.0, bias=1.0):
    layer = nn.BatchNorm1d(1, eps=EPS).double()
    layer.weight.data.fill_(weight)
    layer.bias.data.fill_(bias)
    return layer


@pytest.mark.parametrize(
    ("affine", "expected"),
    [
        ("paper", [-0.5, 0.5]),
        ("preserve", [-1.0, 3.0]),
        ("logit", [-1.0, 3.0]),
        ("auto", [-1.0, 3.0]),
    ],
)
def test_conversions(affine, expected):
    """x̂ is -1 and 1, and the layer had weight 2 and bias 1."""
    assert_is(tssbn.sigmoid(batch_norm(), affine)(PLACE).flatten(), expected)
    layer = tssbn.task_specific(batch_norm(), ("a", "b"), affine=affine)
    assert_is(of_tasks(layer, PLACE)["b"].flatten(), expected)


def test_plain_norms_of_tasks():
    layer = tssbn.task_specific(batch_norm(), ("a", "b"), "plain")
    layer.gamma.data.copy_(torch.tensor([[2.0], [3.0]]))
    layer.beta.data.copy_(torch.tensor([[10.0], [20.0]]))
    found = of_tasks(layer, PLACE)
    assert_is(found["a"].flatten(), [8.0, 12.0])
    assert_is(found["b"].flatten(), [17.0, 23.0])


def test_recognition_and_opening():
    assert [tssbn.is_norm(layer) for layer in (nn.BatchNorm1d(2), nn.ReLU())] == [True, False]
    closed = batch_norm(weight=0.0)
    assert tssbn.open_zero_initialised(closed) == [""]
    assert_is(closed(PLACE).flatten(), [0.0, 2.0])


# -- networks -------------------------------------------------------------------------------------


def network(hard=False):
    """y = head · gate · x̂ of 2x - 1, of which x̂ is -1 and 1 in training."""
    linear, layer = nn.Linear(1, 1), nn.BatchNorm1d(1, eps=EPS)
    trunk = nn.Sequential(linear, layer).double()
    heads = {"a": nn.Linear(1, 1).double(), "b": nn.Linear(1, 1).double()}
    if not hard:
        tssbn.task_specific(trunk, heads)
        layer.gamma.data.copy_(torch.tensor([[-LN3], [LN3]]))
    for part, weight, bias in ((linear, 2, -1), (heads["a"], 4, 0), (heads["b"], 8, 1)):
        part.weight.data.fill_(weight)
        part.bias.data.fill_(bias)
    return tssbn.MultiTask(trunk, heads)


def test_multi_task_networks():
    found = network()(PLACE)
    assert_is(found["a"].flatten(), [-1.0, 1.0])
    assert_is(found["b"].flatten(), [-5.0, 7.0])
    found = network(hard=True)(PLACE)
    assert_is(found["a"].flatten(), [-4.0, 4.0])
    assert_is(found["b"].flatten(), [-7.0, 9.0])


def test_a_task_more():
    net = network()
    net.add_task("c", nn.Identity())
    assert_is(net(PLACE)["c"].flatten(), [-0.5, 0.5])
    net.add_task("d", nn.Identity(), like="b")
    assert_is(net(PLACE)["d"].flatten(), [-0.75, 0.75])


def test_one_task_selected_and_recomputed():
    net = network()
    with tssbn.select(net, "b"):
        assert_is(net.trunk(PLACE).flatten(), [-0.75, 0.75])
    net.trunk = tssbn.recompute(nn.Sequential(net.trunk), ["0"])
    assert_is(net(PLACE)["b"].flatten(), [-5.0, 7.0])


def test_the_stem_parts_in_front_of_the_norm():
    assert tssbn.find_stem(network().trunk) == "1"
    longer = nn.Sequential(*network().trunk, nn.ReLU(), nn.Linear(1, 1).double())
    assert tssbn.find_stem(longer) == "3"


def test_parameter_groups():
    net = network()
    shared, gated = tssbn.param_groups(net, lr=0.5, multiplier=4)
    assert (shared["lr"], gated["lr"]) == (0.5, 2.0)
    assert sum(p.numel() for p in shared["params"]) == 6 and gated["params"][0].numel() == 2


def test_costs():
    net = network().float()
    assert parameters(net) == 8
    assert macs(net, PLACE.float()) == 4  # two passes of the trunk, two heads
    up = {"a": True, "b": False}
    assert delta_m({"a": 3.0, "b": 1.0}, {"a": 2.0, "b": 2.0}, up) == 50.0


# -- gates ----------------------------------------------------------------------------------------


def test_gates():
    matrix = gates.importance(network())
    assert_is(matrix.values, [[0.25], [0.75]])
    one, both = [1.0, 0.0], [1.0, 1.0]
    assert_is(gates.capacity([one, both]), [0.5, 1.0])
    split = gates.capacity_split([one, both])  # at 45 degrees
    assert_is(split.shared, [0.5 * ROOT, ROOT])
    assert_is(split.independent, [0.5 * ROOT, ROOT])
    assert_is(gates.similarity([one, both]), [[1.0, ROOT], [ROOT, 1.0]])
    assert gates.specialised([[0.75, 0.25], [0.25, 0.25]]).tolist() == [0, -1]
    shares = [[0.75, 0.25], [0.25, 0.5]]
    assert gates.most_specialised(shares, 1).tolist() == [[True, False], [False, True]]


def test_gates_taken_away_and_permuted():
    net = network()
    with gates.ablated(net, [True]):
        assert_is(net(PLACE)["b"].flatten(), [1.0, 1.0])
    matrix = gates.Importance(torch.tensor([[0.2, 0.6]]), ("a",), {"1": 1, "2": 1})
    found = gates.permuted(matrix, torch.Generator())
    assert torch.equal(found.values, matrix.values)  # one channel a layer stays where it is


def test_gradients():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = {"a": 3 * w[0] + 4 * w[1], "b": 4 * w[0] + 3 * w[1]}
    rows = gradients.task_gradients(losses, w)
    assert_is(rows, [[3.0, 4.0], [4.0, 3.0]])
    assert_is(gradients.stack_rows([(rows[0],), (None,)], [w]), [[3.0, 4.0], [0.0, 0.0]])
    assert_is(gradients.cosines(rows), [[1.0, 0.96], [0.96, 1.0]])
    assert_is(gradients.mean_squared_cosine(rows), 0.9216)
    assert_is(gradients.orthogonality(losses, w), 0.9216)


def test_clusters():
    pytest.importorskip("sklearn")
    from tssbn import clusters

    matrix = gates.Importance(torch.tensor([[0.1, 0.3, 0.8]]), ("a",), {"1": 2, "2": 1})
    depth, channels = clusters.depth_and_channel_parts(matrix)
    torch.testing.assert_close(depth, torch.tensor([[-0.2, -0.2, 0.4]]).double())
    torch.testing.assert_close(channels, torch.tensor([[-0.1, 0.1, 0.0]]).double())
    one = [[1, 0.8, 0.1], [0.8, 1, 0.3], [0.1, 0.3, 1]]
    two = [[1, 0.8, 0.3], [0.8, 1, 0.1], [0.3, 0.1, 1]]
    assert_is(clusters.rank_correlations([one, two]), [0.5])  # ranks 3 1 2 and 3 2 1
    assert_is(torch.from_numpy(clusters.linkage(one)), [[0, 1, 0.2, 2], [2, 3, 0.8, 3]])
    assert clusters.cluster_tasks(one).tolist() == [0, 0, 1]
    assert_is(clusters.coassociation([[0, 0], [0, 1]]), [[1.0, 0.5], [0.5, 1.0]])
    assert clusters.consensus([one, two]).tolist() == [0, 0, 1]


# -- pruning and export ---------------------------------------------------------------------------


def test_pruning():
    half = tssbn.SigmoidBatchNorm1d(2, dtype=torch.float64)
    assert_is(pruning.rni_penalty(half), 1 + math.log(2))  # p(1 - ln p) of p = 1/2, twice
    layer = nn.BatchNorm1d(2, eps=EPS).double()
    layer.weight.data.copy_(torch.tensor([-3.0, 1.0]))
    assert_is(pruning.slimming_penalty(layer), 4.0)
    net = nn.Sequential(layer)
    masks = pruning.channel_masks(net, 0.5, minimum=1)
    assert masks["0"].tolist() == [True, False]
    masked = pruning.mask_channels(net, masks)
    assert_is(masked(PLACE.expand(2, 2)), [[3.0, 0.0], [-3.0, 0.0]])
    assert pruning.cost(nn.Linear(3, 2), torch.rand(4, 3)) == (8, 24)


def test_channels_cut_out():
    pytest.importorskip("torch_pruning")
    wide, layer, out = nn.Linear(1, 2), nn.BatchNorm1d(2, eps=EPS), nn.Linear(2, 1)
    for part, weight in ((wide, [[1.0], [1.0]]), (out, [[2.0, 5.0]])):
        part.weight.data.copy_(torch.tensor(weight))
        part.bias.data.zero_()
    net = nn.Sequential(wide, layer, out).eval()
    masks = {"1": torch.tensor([True, False])}
    small = pruning.prune_channels(net, masks, PLACE.float())
    assert_is(small(PLACE.float()).flatten(), [2.0, 10.0])
    assert [tuple(p.shape) for p in small.parameters()] == [(1, 1), (1,), (1,), (1,), (1, 1), (1,)]
    tied = pruning.tie_masks(net, masks, PLACE.float())
    assert tied["1"].tolist() == [True, False]


def trained():
    """A network with statistics of its tasks: means 1 and 5, variances 4 and 16."""
    net = network().eval()
    net.trunk[1].running_mean.copy_(torch.tensor([[1.0], [5.0]]))
    net.trunk[1].running_var.copy_(torch.tensor([[4.0], [16.0]]))
    return net


def test_export_of_one_task():
    """a: 4 · ¼ (2x - 1 - 1) / 2 = x - 1."""
    net = trained()
    single = export.task(net, "a")
    assert_is(single(PLACE).flatten(), [0.0, 4.0])
    assert isinstance(single.trunk[1], nn.BatchNorm1d)


def test_folding():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=EPS)).double().eval()
    net[0].weight.data.fill_(2)
    net[0].bias.data.fill_(1)
    net[1].weight.data.fill_(3)
    net[1].running_mean.fill_(4)
    folded = export.fold(net)
    assert isinstance(folded[1], nn.Identity)
    assert_is(folded[0].weight.flatten(), [6.0]), assert_is(folded[0].bias, [-9.0])
    assert_is(folded(PLACE.view(2, 1, 1, 1)).flatten(), [-3.0, 21.0])


def test_layers_of_one_task_and_of_the_mean():
    layer = trained().trunk[1]
    found = task_affine(layer, "b")
    assert_is(found["weight"], [0.75]), assert_is(found["running_mean"], [5.0])
    mean = mean_norm(layer, ("a", "b"))
    assert_is(mean.weight, [0.5]), assert_is(mean.running_var, [10.0])


def test_branches_and_trees():
    net = trained()
    apart = {"1": (("a",), ("b",))}
    found = export.branches(net, apart)(PLACE)
    assert_is(found["a"].flatten(), [0.0, 4.0])
    assert_is(found["b"].flatten(), [-5.0, 7.0])  # 8 · ¾ (2x - 6) / 4 + 1
    # Slopes 1/8 and 3/16, shifts -1/8 and -15/16; at mean 3 and variance 10.
    off = math.hypot(-3 / 16 + 13 / 16, math.sqrt(10) / 16)
    expected = off / math.sqrt((1 / 16 + 9 / 16) / 2)
    assert_is(distances(net)["1"], [[0.0, expected], [expected, 0.0]])
    assert tree_by_similarity(net, expected + 1e-6) == {"1": (("a", "b"),)}
    assert tree_by_similarity(net, expected - 1e-6) == apart
    path = greedy(net, lambda merged: 0.0, PLACE)
    assert [step.cost for step in path] == [3]  # apart in the last layer costs no more MACs


def test_a_stem_is_found_in_converted_trunks_only():
    net = network()
    with pytest.raises(ValueError, match="MultiTask has heads"):
        tssbn.find_stem(net)
    with pytest.raises(ValueError, match="Sequential has no task-specific layer"):
        tssbn.find_stem(torch.nn.Sequential(torch.nn.BatchNorm1d(3)))


@pytest.mark.parametrize(
    "call",
    [
        lambda net: tssbn.param_groups(net.parameters(), 1e-3),
        lambda net: tssbn.task_specific(type(net), ("seg", "depth")),
        lambda net: tssbn.sigmoid("net"),
    ],
)
def test_what_is_no_network_is_refused(call):
    with pytest.raises(TypeError, match="must be a network"):
        call(torch.nn.Sequential(torch.nn.BatchNorm1d(3)))
