"""Trees of passes: `tssbn.export.branches`, and how they are chosen."""

import copy
import io
import pickle
from itertools import pairwise

import pytest
import torch
from asserts import ABSOLUTE, assert_same_outputs
from inputs import NORMS, TASKS, images
from torch import nn
from torch.optim.swa_utils import update_bn
from torchvision.models.resnet import BasicBlock, ResNet
from versions import pickles_fx

import tssbn
from tssbn.cost import macs
from tssbn.export.plain import mean_norm, task_affine
from tssbn.export.trees import distances, greedy, tree_by_similarity
from tssbn.export.unroll import branches, refine
from tssbn.networks.segnet import SegNet, SegNetHead
from tssbn.norm import TaskSpecificNorm

ALONE = (("seg",), ("depth",), ("normal",))
PAIR = (("seg", "normal"), ("depth",))


def norm():
    return nn.BatchNorm2d(4)


def conv(inputs=4, stride=1):
    return nn.Conv2d(inputs, 4, 3, stride, padding=1)


class UNet(nn.Module):
    """A skip around the coarse layers, and two outputs."""

    def __init__(self):
        super().__init__()
        self.stem, self.fine = conv(3), norm()
        self.down, self.coarse = conv(stride=2), norm()
        self.up, self.last = conv(8), norm()

    def forward(self, x):
        skip = self.fine(self.stem(x)).relu()
        low = self.coarse(self.down(skip)).relu()
        high = nn.functional.interpolate(low, size=skip.shape[-2:])
        return {"fine": self.last(self.up(torch.cat([high, skip], 1))), "coarse": low}


class UNetHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.read = nn.Conv2d(4, 2, 1)

    def forward(self, features):
        return self.read(features["fine"]) + features["coarse"].mean()


def chain():
    return nn.Sequential(conv(3), norm(), nn.ReLU(), conv(), norm(), nn.ReLU(), conv(), norm())


def vit():
    timm = pytest.importorskip("timm")
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=12, depth=2, num_classes=0
    )


TRUNKS = {
    "chain": (chain, lambda: nn.Conv2d(4, 2, 1)),
    "segnet": (lambda: SegNet(2), lambda: SegNetHead(2, 2)),
    "resnet": (lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=6), lambda: nn.Linear(6, 2)),
    "vit": (vit, lambda: nn.Linear(12, 2)),
    "unet": (UNet, UNetHead),
    "a single layer": (lambda: nn.BatchNorm2d(3), lambda: nn.Conv2d(3, 2, 1)),
}


def network(name="chain", norm="sigmoid", different=True):
    """In float64, with gates, biases and statistics of each task's own."""
    make, head = TRUNKS[name]
    trunk = tssbn.task_specific(make(), TASKS, norm)
    net = tssbn.MultiTask(trunk, {task: head() for task in TASKS}).double().eval()
    for layer in layers(net).values():
        for parameter in (layer.gamma, layer.beta) if different else ():
            if parameter is not None:
                nn.init.uniform_(parameter, -1.0, 1.0)
    update_bn([images(8, 32)], net)
    return net


def layers(net):
    modules = net.trunk.named_modules()
    return {name: part for name, part in modules if isinstance(part, TaskSpecificNorm)}


def alone(net):
    return dict.fromkeys(layers(net), ALONE)


# -- unrolling --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRUNKS)
def test_with_every_task_alone_it_is_the_network(name):
    net, x = network(name), images(2, 32)
    expected = net(x)
    unrolled = branches(net, alone(net))
    assert_same_outputs(unrolled(x), expected, **ABSOLUTE)
    assert not any(isinstance(part, TaskSpecificNorm) for part in unrolled.modules())
    assert not unrolled.training
    for head in list(net.heads)[1:]:
        net.heads[head].load_state_dict(net.heads["seg"].state_dict())
    outputs = net(x)
    assert (outputs["seg"] - outputs["depth"]).abs().max() > 1e-6  # the passes do differ


@pytest.mark.parametrize("norm", ["sigmoid", "plain", "statistics", "affine"])
def test_every_form_of_layer(norm):
    net, x = network(norm=NORMS[norm]), images(2, 32)
    assert_same_outputs(branches(net, alone(net))(x), net(x), **ABSOLUTE)


@pytest.mark.parametrize("name", TRUNKS)
def test_any_tree_of_equal_layers_is_the_network(name):
    net, x = network(name, different=False), images(2, 32)
    first, last = (list(distances(net))[i] for i in (0, -1))
    for tree in {}, {first: PAIR}, {first: PAIR, last: ALONE}:
        assert_same_outputs(branches(net, tree)(x), net(x), **ABSOLUTE)


class InPlace(nn.Module):
    """A shortcut with a norm layer of its own is added, in one of many ways, to the main path."""

    def __init__(self, add):
        super().__init__()
        self.main, self.norm = conv(3), norm()
        self.side, self.shortcut = conv(3), norm()
        self.add = add
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        main = self.norm(self.main(x))
        side = self.shortcut(self.side(x))
        return self.relu(self.add(main, side)) + 0 * main


def iadd(x, y):
    x += y
    return x


def add_(x, y):
    x.add_(y)
    return x


def scaled_(x, y):
    return torch.relu_(x.mul_(y.sigmoid()))


@pytest.mark.parametrize("add", [iadd, add_, scaled_])
@pytest.mark.parametrize("split", ["norm", "shortcut"])
def test_a_step_in_place_changes_nothing_of_another_group(add, split):
    trunk = tssbn.task_specific(InPlace(add), TASKS)
    heads = {task: nn.Conv2d(4, 2, 1) for task in TASKS}
    net, x = tssbn.MultiTask(trunk, heads).double().eval(), images(2, 32)
    assert_same_outputs(branches(net, {split: ALONE})(x), net(x), **ABSOLUTE)


def test_a_head_in_place_changes_nothing_of_another_task():
    trunk = tssbn.task_specific(chain(), TASKS)
    heads = {task: nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1)) for task in TASKS}
    heads["normal"] = nn.Conv2d(4, 2, 1)
    net, x = tssbn.MultiTask(trunk, heads).double().eval(), images(2, 32)
    assert_same_outputs(branches(net, {})(x), net(x), **ABSOLUTE)


class Writing(nn.Module):
    """A head that changes its input in a way that is no module."""

    def __init__(self, write):
        super().__init__()
        self.write, self.read = write, nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.read(self.write(x))


def set_item(x):
    x[:, 0] = 0
    return x


WRITES = {
    "function": lambda x: nn.functional.relu(x, inplace=True),
    "positional": lambda x: nn.functional.leaky_relu(x, 0.1, True),
    "method": lambda x: x.mul_(2),
    "operator": lambda x: iadd(x, 1),
    "item": set_item,
    "through a view": lambda x: x.flatten(1).add_(1).view_as(x),
    "by value": lambda x: x.mul_(2) if x.mean() < 9 else x,
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_the_code_of_a_head_changes_nothing_of_another_task(write):
    trunk = tssbn.task_specific(chain(), TASKS)
    heads = {"seg": Writing(write), "depth": Writing(write), "normal": nn.Conv2d(4, 2, 1)}
    net, x = tssbn.MultiTask(trunk, heads).double().eval(), images(2, 32)
    assert_same_outputs(branches(net, {})(x), net(x), **ABSOLUTE)


class Sized(nn.Module):
    """Features and the size of the image, which cannot be cloned."""

    def __init__(self):
        super().__init__()
        self.body = chain()

    def forward(self, x):
        return self.body(x), x.shape[-2:]


class SizedHead(nn.Module):
    def forward(self, features):
        x, size = features
        return nn.functional.interpolate(x, size=(2 * size[0], size[1]))


def test_features_may_have_values_that_are_no_tensors():
    trunk = tssbn.task_specific(Sized(), TASKS)
    net = tssbn.MultiTask(trunk, {task: SizedHead() for task in TASKS}).double().eval()
    x = images(2, 32)
    assert_same_outputs(branches(net, {})(x), net(x), **ABSOLUTE)


def test_a_group_is_the_network_with_the_means_of_its_layers():
    net, x = network("segnet"), images(2, 32)
    one = copy.deepcopy(net)
    rows = [TASKS.index("seg"), TASKS.index("normal")]
    for layer in layers(one).values():
        with torch.no_grad():
            mean = layer.gamma[rows].sigmoid().mean(0)
            layer.gamma[rows] = torch.logit(mean)
            for statistic in layer._buffers["running_mean"], layer._buffers["running_var"]:
                statistic[rows] = statistic[rows].mean(0)
    tree = dict.fromkeys(layers(net), PAIR)
    assert_same_outputs(branches(net, tree)(x), one(x), **ABSOLUTE)


def test_a_layer_that_is_not_named_splits_nothing():
    net, x = network("segnet"), images(2, 32)
    names = list(distances(net))
    late = names[len(names) // 2]
    here = branches(net, {late: PAIR})
    everywhere = {name: PAIR for name in names[names.index(late) :]}
    assert_same_outputs(here(x), branches(net, everywhere)(x), **ABSOLUTE)


def test_what_is_common_runs_once():
    net = network("chain")
    calls = []
    unrolled = branches(net, {"4": PAIR})
    for name, part in unrolled.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda *_, name=name: calls.append(name))
    unrolled(images(2, 32))
    times = {name: calls.count(name) for name in calls}
    assert times == {
        "trunk.0": 1,
        "trunk.3": 1,
        "trunk.6": 2,
        **{f"heads.{task}": 1 for task in TASKS},
    }


def test_a_skip_parts_where_its_source_does():
    """The skip before the split is one for all, the sum after it one for each."""
    net, x = network("unet"), images(2, 32)
    tree = {"coarse": PAIR}
    unrolled = branches(net, tree)
    names = [name for name, part in unrolled.named_modules() if isinstance(part, nn.BatchNorm2d)]
    assert names == [
        "trunk.fine.seg+depth+normal",
        "trunk.coarse.seg+normal",
        "trunk.coarse.depth",
        "trunk.last.seg+normal",
        "trunk.last.depth",
    ]
    outputs = unrolled(x)
    assert list(outputs) == list(TASKS)


def test_the_refinement_of_two_partitions():
    crossed = refine((("a", "b"), ("c", "d")), (("a", "c"), ("b", "d")))
    assert crossed == (("a",), ("b",), ("c",), ("d",))
    assert refine((("a", "b", "c"),), (("a", "c"), ("b",))) == (("a", "c"), ("b",))


def test_it_is_a_copy_with_the_dtype_mode_and_frozen_parameters_of_the_network():
    net, x = network(), images(2, 32)
    net.trunk[0].requires_grad_(False)
    layers(net)["4"].gamma.requires_grad_(False)
    net.train()
    unrolled, before = (
        branches(net, alone(net)),
        {k: v.clone() for k, v in net.state_dict().items()},
    )
    assert unrolled.training and all(part.training for part in unrolled.modules())
    frozen = {name for name, p in unrolled.named_parameters() if not p.requires_grad}
    assert frozen == {"trunk.0.weight", "trunk.0.bias", *(f"trunk.4.{t}.weight" for t in TASKS)}
    sum(y.square().mean() for y in unrolled(x).values()).backward()
    torch.optim.SGD(unrolled.parameters(), 0.1).step()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_gradients_are_those_of_the_network():
    net, x = network("unet").train(), images(2, 32)
    unrolled = branches(net, alone(net))
    for model in net, unrolled:
        sum(y.square().mean() for y in model(x).values()).backward()
    theirs = dict(unrolled.named_parameters())
    shared = [(name, p) for name, p in net.named_parameters() if name in theirs]
    assert len(shared) == 12  # three convolutions and three heads
    for name, parameter in shared:
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-9, atol=1e-12)
    for task in TASKS:
        row, slope = TASKS.index(task), net.trunk.last.gamma[TASKS.index(task)].sigmoid()
        expected = theirs[f"trunk.last.{task}.weight"].grad * slope * (1 - slope)
        torch.testing.assert_close(net.trunk.last.gamma.grad[row], expected, rtol=1e-9, atol=1e-12)


def test_statistics_can_be_estimated_anew():
    net, x = network(), images(8, 32)
    unrolled = branches(net, {"4": PAIR})
    update_bn([x], unrolled)
    layer = unrolled.get_submodule("trunk.1.seg+depth+normal")
    seen = unrolled.get_submodule("trunk.0")(x)
    torch.testing.assert_close(layer.running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(layer.running_var, seen.var((0, 2, 3)))


@pickles_fx
@pytest.mark.parametrize("name", ["unet", "vit"])
def test_it_is_pickled_saved_copied_and_exported(name):
    net, x = network(name), images(2, 32)
    first, *_, last = distances(net)
    unrolled = branches(net, {first: PAIR, last: ALONE})
    expected = unrolled(x)
    file = io.BytesIO()
    torch.save(unrolled, file)
    file.seek(0)
    assert_same_outputs(pickle.loads(pickle.dumps(unrolled))(x), expected, **ABSOLUTE)
    assert_same_outputs(torch.load(file, weights_only=False)(x), expected, **ABSOLUTE)
    assert_same_outputs(copy.deepcopy(unrolled)(x), expected, **ABSOLUTE)
    assert_same_outputs(torch.export.export(unrolled, (x,)).module()(x), expected, **ABSOLUTE)


class Choosy(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(x) if x.mean() > 0 else x


def test_what_fx_cannot_follow_is_named():
    trunk = tssbn.task_specific(nn.Sequential(nn.Identity(), Choosy()), TASKS)
    net = tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS})
    with pytest.raises(ValueError, match=r"cannot follow 'trunk.1', a Choosy: .*control flow"):
        branches(net, {})


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"9": PAIR}, r"tree names \['9'\].*\['1', '4', '7'\]"),
        ({"1": (("seg", "depth"),)}, "in which each of the tasks"),
        ({"1": (("seg", "depth"), ("normal", "seg"))}, "in which each of the tasks"),
        ({"1": (*ALONE, ())}, "in which each of the tasks"),
        ({"1": TASKS}, "must be groups, tuples of names"),
    ],
)
def test_wrong_trees_are_refused(tree, message):
    with pytest.raises(ValueError, match=message):
        branches(network(), tree)


def test_networks_without_passes_are_refused():
    head = nn.Identity()
    with pytest.raises(ValueError, match="no task-specific layer"):
        branches(tssbn.MultiTask(nn.ReLU(), {"seg": head}), {})
    with pytest.raises(TypeError, match=r"must be a tssbn\.MultiTask, got an object of type ReLU"):
        branches(nn.ReLU(), {})
    trunk = tssbn.task_specific(nn.BatchNorm2d(3), ("a", "b+c"))
    with pytest.raises(ValueError, match=r"\['b\+c'\] have '\+' in the name"):
        branches(tssbn.MultiTask(trunk, {"a": head, "b+c": head}), {})


# -- plain layers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [norm, lambda: nn.LayerNorm((4, 8, 8)), lambda: nn.GroupNorm(2, 4)]
)
def test_the_plain_layer_of_a_task_does_what_the_layer_does_for_it(make):
    layer = tssbn.task_specific(make(), TASKS).double().eval()
    for value in (layer.gamma, *layer.buffers()):
        if value.is_floating_point():
            nn.init.uniform_(value, 0.5, 1.5)
    x = torch.rand(2, 4, 8, 8, dtype=torch.float64)
    for task in TASKS:
        plain = mean_norm(layer, (task,))
        assert type(plain) is type(make())
        with tssbn.select(layer, task):
            assert torch.equal(plain(x), layer(x))
    assert "gamma" not in dict(plain.named_parameters())


# -- choosing ---------------------------------------------------------------------------------


def test_the_difference_is_that_of_the_outputs_for_a_normal_input():
    net = network()
    layer, name = layers(net)["4"], "4"
    values = {task: task_affine(layer, task) for task in ("seg", "depth")}
    mean = sum(v["running_mean"] for v in values.values()) / 2
    var = sum(v["running_var"] for v in values.values()) / 2
    x = mean + var.sqrt() * torch.randn(200_000, 4, dtype=torch.float64)
    one, other = (mean_norm(layer, (task,))(x[..., None, None]) for task in values)
    power = sum(v["weight"].square().mean() for v in values.values()) / 2
    expected = ((one - other).square().mean() / power).sqrt()
    torch.testing.assert_close(distances(net)[name][0, 1], expected, rtol=0.01, atol=0)


def test_differences_are_symmetric_and_vanish_for_equals():
    for apart in distances(network("segnet")).values():
        assert torch.equal(apart, apart.T) and (apart.diagonal() == 0).all()
        assert (apart[0, 1:] > 0).all()
    assert all((apart == 0).all() for apart in distances(network(different=False)).values())
    assert set(distances(network("vit"))) == set(layers(network("vit")))


def test_shut_gates_are_equal():
    net = network()
    with torch.no_grad():
        layers(net)["4"].gamma.fill_(-torch.inf)
    assert (distances(net)["4"] == 0).all()


def test_equal_layers_stay_together_at_tolerance_0():
    net, x = network("segnet"), images(2, 32)
    with torch.no_grad():
        for layer in list(layers(net).values())[:9]:
            for key in "gamma", "running_mean", "running_var":
                value = layer._parameters.get(key, layer._buffers.get(key))
                value[2] = value[0]
    tree = tree_by_similarity(net, 0)
    assert list(tree.values()) == [PAIR] * 9 + [(("seg",), ("normal",), ("depth",))] * 17
    assert_same_outputs(branches(net, tree)(x), net(x), **ABSOLUTE)
    assert macs(branches(net, tree), x) < macs(branches(net, alone(net)), x)


def test_trees_of_gates_grow_from_one_trunk_and_only_split():
    net = network("resnet")
    names = list(distances(net))
    assert tree_by_similarity(net, torch.inf) == dict.fromkeys(names, (TASKS,))
    costs = []
    seen = torch.stack(list(distances(net).values())).flatten()
    for tolerance in (0, *seen.quantile(torch.tensor([0.5, 0.7, 0.9]).double()), torch.inf):
        tree = tree_by_similarity(net, tolerance)
        partitions = list(tree.values())
        for coarse, fine in pairwise(partitions):
            assert set(refine(coarse, fine)) == set(fine)
        costs.append(macs(branches(net, tree), images(2, 32)))
    assert costs == sorted(costs, reverse=True) and len(set(costs)) > 2


def test_tasks_in_a_group_are_within_the_tolerance():
    net = network("segnet")
    apart = distances(net)
    first, *_ = apart.values()  # in which two of the tasks stay together
    tolerance = first[~torch.eye(len(TASKS), dtype=torch.bool)].min().item()
    assert [len(group) for group in next(iter(tree_by_similarity(net, tolerance).values()))] == [
        2,
        1,
    ]
    for name, partition in tree_by_similarity(net, tolerance).items():
        for group in partition:
            rows = [TASKS.index(task) for task in group]
            assert (apart[name][rows][:, rows] <= tolerance).all()


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="tolerance=-1 must be 0 or more"):
        tree_by_similarity(network(), -1)


def test_a_trunk_is_not_the_network():
    with pytest.raises(TypeError, match=r"net must be a tssbn\.MultiTask"):
        tree_by_similarity(network().trunk, 0)


def counted(net, tree):
    """A loss that adds up: each pair that shares a layer costs its own."""
    price = {("seg", "depth"): 3.0, ("seg", "normal"): 1.0, ("depth", "normal"): 2.0}
    total = 0.0
    for name, part in net.named_modules():
        group = name.rpartition(".")[2].split("+")
        if isinstance(part, nn.BatchNorm2d):
            total += sum(v for pair, v in price.items() if set(pair) <= set(group))
    return total


def test_the_greedy_path_merges_the_cheapest_first_and_costs_fall():
    net = network("chain")
    path = greedy(net, lambda merged: counted(merged, None), images(2, 32))
    costs = [step.cost for step in path]
    assert costs == sorted(set(costs), reverse=True)
    assert path[0].loss == 0
    assert costs[0] == macs(branches(net, alone(net)), images(2, 32))
    assert costs[-1] == macs(branches(net, {"7": ALONE}), images(2, 32))  # sharing 7 saves nothing
    assert set(path[1].tree["1"]) == {
        ("seg", "normal"),
        ("depth",),
    }  # seg + normal are the cheapest
    for step in path:
        assert step.cost == macs(branches(net, step.tree), images(2, 32))
        assert step.loss == counted(branches(net, step.tree), None)


def test_the_lazy_search_finds_what_measuring_everything_finds():
    net = network("chain")
    rates = {}
    path = greedy(net, lambda merged: counted(merged, None), images(2, 32))
    start, best = path[0], path[1]
    for pair, single in ((0, 1), 2), ((0, 2), 1), ((1, 2), 0):
        tree = {"1": (tuple(TASKS[i] for i in pair), (TASKS[single],)), "4": ALONE, "7": ALONE}
        merged_net = branches(net, tree)
        saved = start.cost - macs(merged_net, images(2, 32))
        rates[pair] = counted(merged_net, None) / saved
    assert min(rates.values()) == (best.loss - start.loss) / (start.cost - best.cost)


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = chain()

    def forward(self, x):
        return nn.functional.dropout(self.body(x), 0.5, self.training)


def test_what_the_greedy_path_measures_is_in_evaluation_mode():
    trunk = tssbn.task_specific(Dropping(), TASKS)
    net = tssbn.MultiTask(trunk, {task: nn.Conv2d(4, 2, 1) for task in TASKS}).double()
    x, seen = images(2, 32), []

    def loss(merged):
        seen.append([merged(x)["seg"], merged(x)["seg"], merged.training])
        return 0.0

    greedy(net, loss, x)
    assert net.training and len(seen) > 2
    for one, other, training in seen:
        assert torch.equal(one, other) and not training


def test_a_budget_and_coarser_depths_make_a_shorter_path():
    net = network("chain")
    whole = greedy(net, lambda merged: 0.0, images(2, 32))
    coarse = greedy(net, lambda merged: 0.0, images(2, 32), depths=["7"])
    assert len(coarse) == 3 < len(whole)
    assert list(coarse[-1].tree) == ["1", "7"]
    half = greedy(net, lambda merged: 0.0, images(2, 32), budget=whole[2].cost)
    assert [step.cost for step in half][-1] == whole[2].cost
    with pytest.raises(ValueError, match=r"depths names \['x'\]"):
        greedy(net, lambda merged: 0.0, images(2, 32), depths=["x"])
