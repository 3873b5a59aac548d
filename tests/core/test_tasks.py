"""Task-specific modules that are no norm layers, and networks written with such modules."""

import copy
import pickle

import pytest
import torch
from settings import DEVICE
from torch import nn

import tssbn
import tssbn.export
from tssbn.names import check_tasks, choose_tasks
from tssbn.norm import TaskSpecificNorm
from tssbn.passes import Pass
from tssbn.stacking import split, stack
from tssbn.tasks import find_tasks

TASKS = ("seg", "depth", "normal")


class TaskAdapter(tssbn.TaskSpecific):
    """Houlsby's bottleneck for each task, ``y = x + relu(x D_t) U_t``."""

    per_task = ("down", "up", "seen")

    def __init__(self, width, inner, tasks):
        super().__init__()
        self.tasks = tasks
        self.down = nn.Parameter(torch.randn(len(tasks.names), width, inner))
        self.up = nn.Parameter(torch.randn(len(tasks.names), inner, width))
        self.register_buffer("seen", torch.zeros(len(tasks.names)))

    def forward(self, x):  # (B·t, N, C)
        x = self.unstack(x)  # (B, t, N, C)
        if self.training:
            self.rows(self.seen).add_(len(x))
        inner = torch.einsum("btnc,tci->btni", x, self.rows(self.down)).relu()
        return self.stack(x + torch.einsum("btni,tic->btnc", inner, self.rows(self.up)))


def network(**options):
    """Adapters and norm layers, by hand."""
    torch.manual_seed(0)
    tasks = tssbn.Tasks(TASKS)
    layers = (
        *(nn.Linear(4, 6), TaskAdapter(6, 2, tasks), tssbn.TaskSigmoidLayerNorm(6, tasks)),
        *(nn.Tanh(), nn.Linear(6, 6), TaskAdapter(6, 3, tasks)),
    )
    heads = {task: nn.Linear(6, 2) for task in TASKS}
    net = tssbn.MultiTask(nn.Sequential(*layers), heads, **options).to(DEVICE, torch.float64)
    nn.init.normal_(net.trunk[2].gamma)
    return net


def batch(count=3):
    return torch.randn(count, 5, 4, device=DEVICE, dtype=torch.float64)


def assert_close(one, other, atol=1e-12):
    assert list(one) == list(other)
    for task in one:
        torch.testing.assert_close(one[task], other[task], rtol=0, atol=atol)


def by_hand(net, x, task):
    """The adapter's formula, task by task."""
    t = TASKS.index(task)
    for layer in net.trunk:
        if isinstance(layer, TaskAdapter):
            x = x + (x @ layer.down[t]).relu() @ layer.up[t]
        elif isinstance(layer, tssbn.TaskSigmoidLayerNorm):
            x = nn.functional.layer_norm(x, (6,)) / (1 + torch.exp(-layer.gamma[t]))
        else:
            x = layer(x)
    return net.heads[task](x)


@pytest.mark.parametrize("tasks_per_pass", [None, 1, 2])
@pytest.mark.parametrize("stem", ["", "1"])
def test_adapters_stacked_are_adapters_apart(tasks_per_pass, stem):
    net, x = network(tasks_per_pass=tasks_per_pass, stem=stem), batch()
    assert_close(net(x), {task: by_hand(net, x, task) for task in TASKS})
    for chosen in ("depth",), ("seg", "normal"), ("depth", "normal"):
        assert_close(net(x, chosen), {task: by_hand(net, x, task) for task in chosen})
    net.check(x)


def test_their_gradients_and_buffers_are_those_of_separate_passes():
    net, x = network(), batch()
    apart = copy.deepcopy(net)
    sum(y.square().sum() for y in net(x).values()).backward()
    for task in TASKS:
        apart(x, (task,))[task].square().sum().backward()
    for one, other in zip(net.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)
    assert net.trunk[1].seen.tolist() == apart.trunk[1].seen.tolist() == [3, 3, 3]


def test_a_task_is_added_to_them():
    net, x = network(), batch()
    before = net(x)
    mean = net.trunk[1].down.mean(0)
    net.add_task("edges", copy.deepcopy(net.heads["depth"]), like="depth")
    net.add_task("parts", nn.Linear(6, 1).double())
    after = net(x)
    assert list(after) == [*TASKS, "edges", "parts"]
    assert_close({task: after[task] for task in TASKS}, before, atol=0)
    torch.testing.assert_close(after["edges"], before["depth"], rtol=0, atol=1e-12)
    down = net.trunk[1].down
    torch.testing.assert_close(down[4], (3 * mean + down[1]) / 4)  # of the four before it


def test_they_are_copied_saved_and_counted():
    net, x = network(), batch()
    expected = net.eval()(x)
    fresh = network()
    nn.init.zeros_(fresh.trunk[1].up)
    fresh.load_state_dict(net.state_dict())
    for twin in copy.deepcopy(net), pickle.loads(pickle.dumps(net)), fresh.eval():
        assert_close(twin(x), expected, atol=0)
    own = {
        id(p) for layer in (net.trunk[1], net.trunk[2], net.trunk[5]) for p in layer.parameters()
    }
    assert {id(p) for p in net.shared()} == {id(p) for p in net.trunk.parameters()} - own
    with pytest.raises(
        ValueError, match=r"of tasks \['seg', 'depth', 'normal'\], this network has"
    ):
        state = net.state_dict()
        tasks = tssbn.Tasks(TASKS[::-1])
        trunk = nn.Sequential(nn.Linear(4, 6), TaskAdapter(6, 2, tasks))
        tssbn.MultiTask(trunk, {task: nn.Linear(6, 2) for task in TASKS}).load_state_dict(state)


def test_one_task_of_them_is_exported():
    net, x = network(), batch()
    expected = net.eval()(x)
    for task in TASKS:
        single = tssbn.export.task(net, task, example=x)
        torch.testing.assert_close(single(x), expected[task], rtol=1e-10, atol=1e-12)
        assert single.trunk[1].down.shape == (1, 6, 2)
    with pytest.raises(ValueError, match=r"task-specific modules \['1', '5'\] are no norm layers"):
        tssbn.export.branches(net, {})


def test_parameter_groups_take_adapters_for_filters():
    net = network()
    shared, gates = tssbn.param_groups(net, lr=0.1)
    assert [id(p) for p in gates["params"]] == [id(net.trunk[2].gamma)]
    assert id(net.trunk[1].down) in {id(p) for p in shared["params"]}


# -- a network that is written with the paper's layers --------------------------------------------


def test_a_network_by_hand_is_the_converted_one():
    tasks = tssbn.Tasks(TASKS)
    hand = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), tssbn.TaskSigmoidBatchNorm2d(4, tasks), nn.ReLU()),
        *(nn.Conv2d(4, 5, 3), tssbn.TaskSigmoidBatchNorm2d(5, tasks)),
    ).double()
    plain = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5))
    ).double()
    converted = tssbn.task_specific(plain, TASKS)
    heads = {task: nn.Flatten() for task in TASKS}
    one, other = (tssbn.MultiTask(trunk, heads) for trunk in (hand, converted))
    assert one.state_dict().keys() == other.state_dict().keys()
    nn.init.normal_(hand[1].gamma)
    other.load_state_dict(one.state_dict())
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    for mode in True, True, False:
        assert_close(one.train(mode)(x), other.train(mode)(x), atol=0)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda tasks: tssbn.TaskSigmoidBatchNorm1d(4, tasks, momentum=None), (6, 4)),
        (lambda tasks: tssbn.TaskSigmoidBatchNorm1d(4, tasks), (6, 4, 3)),
        (lambda tasks: tssbn.TaskSigmoidBatchNorm2d(4, tasks, 1e-5, 0.1, False), (6, 4, 3, 2)),
        (lambda tasks: tssbn.TaskSigmoidBatchNorm3d(4, tasks, eps=1e-3), (6, 4, 3, 2, 2)),
        (lambda tasks: tssbn.TaskSigmoidLayerNorm(4, tasks), (6, 3, 4)),
        (lambda tasks: tssbn.TaskSigmoidLayerNorm((3, 4), tasks), (6, 3, 4)),
    ],
)  # fmt: skip
def test_layers_by_hand_are_the_equation(layer, shape):
    """σ(γ_t)·x̂, with x̂ as the ordinary layer gives it, for each task and in both modes."""
    layer = layer(tssbn.Tasks(("a", "b"))).double()
    assert (layer.gamma == 0).all() and "tasks=['a', 'b']" in repr(layer)
    nn.init.normal_(layer.gamma)
    host = layer.host_type
    if host is nn.LayerNorm:
        hosts = [host(layer.normalized_shape, elementwise_affine=False) for _ in "ab"]
    else:
        options = (layer.num_features, layer.eps, layer.momentum, False, layer.track_running_stats)
        hosts = [host(*options) for _ in "ab"]
    net = tssbn.MultiTask(layer, {"a": nn.Identity(), "b": nn.Identity()})
    for mode in True, True, False:
        x = torch.randn(shape, dtype=torch.float64) * 2 + 1
        y = net.train(mode)(x)
        for t, task in enumerate("ab"):
            gate = 1 / (1 + torch.exp(-layer.gamma[t]))
            if host is not nn.LayerNorm:
                gate = gate.reshape(-1, *[1] * (x.ndim - 2))
            expected = gate * hosts[t].double().train(mode)(x)
            torch.testing.assert_close(y[task], expected, rtol=1e-10, atol=1e-12)


def test_layers_by_hand_need_the_tasks_of_the_network():
    with pytest.raises(TypeError, match=r"tasks=\('a', 'b'\) must be a tssbn.Tasks"):
        tssbn.TaskSigmoidBatchNorm2d(4, ("a", "b"))
    with pytest.raises(TypeError, match=r"must be a tssbn.Tasks"):
        tssbn.TaskSigmoidLayerNorm(4, "ab")


def test_a_trunk_of_one_task_needs_no_selection():
    trunk = tssbn.task_specific(nn.BatchNorm1d(3), ("only",)).eval()
    assert trunk(torch.zeros(2, 3)).shape == (2, 3)


# -- names, rows, passes --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["_modules", "_parameters", "training", "keys", "a.b", ""])
def test_names_that_a_module_dictionary_cannot_take(name):
    with pytest.raises(ValueError, match="task name"):
        check_tasks(("a", name))


def test_a_set_has_no_order():
    with pytest.raises(ValueError, match="is a set, whose order may differ between processes"):
        check_tasks({"a", "b"})
    with pytest.raises(ValueError, match="is a set"):
        tssbn.task_specific(nn.BatchNorm1d(3), frozenset("ab"))
    assert choose_tasks({"c", "a"}, ("a", "b", "c")) == ("a", "c")  # the network has the order


def test_rows_are_stacked_and_split_image_by_image():
    tree = {"x": torch.arange(6).reshape(3, 2), "scale": torch.tensor(2.0), "name": "left"}
    stacked = stack(tree, 2)
    assert stacked["x"].tolist() == [[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]]
    assert stacked["name"] == "left" and stacked["scale"] == 2
    parts = split(stacked, 3, 2)
    assert all(torch.equal(part["x"], tree["x"]) for part in parts)


def test_tasks_that_run_together_are_neighbours():
    tasks = tssbn.Tasks(("a", "b", "c"))
    with pytest.raises(ValueError, match=r"\['a', 'c'\] are no neighbours in \['a', 'b', 'c'\]"):
        tasks.running(("a", "c"))
    with tasks.running(("c", "b")) as now:
        assert now is tasks.now and isinstance(now, Pass)
        assert (now.rows, now.count) == (slice(1, 3), 2)


def test_layers_copied_on_their_own_find_back_to_the_networks_tasks():
    """As peft's modules_to_save does: a copy of a layer beside the layer."""

    class Both(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.original, self.saved = layer, copy.deepcopy(layer)

        def forward(self, x):
            return self.saved(x)

    trunk = tssbn.task_specific(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), ("a", "b"))
    trunk[1] = Both(trunk[1])
    assert len(find_tasks(trunk)) == 2
    net = tssbn.MultiTask(trunk, {"a": nn.Identity(), "b": nn.Identity()})
    assert len(find_tasks(net)) == 1
    nn.init.normal_(trunk[1].saved.gamma)
    x = torch.randn(2, 3)
    torch.testing.assert_close(net(x)["b"], net(x, ("b",))["b"])


@pytest.mark.parametrize("chosen", [TASKS, ("depth",), ("depth", "normal")])
@pytest.mark.parametrize("make", ["2d", "layer"])
def test_equation_3_is_the_general_path_over_any_host(make, chosen):
    """The paper's layers against the mixin that gates every other: outputs, state, gradients."""
    layers = {
        "2d": lambda tasks: tssbn.TaskSigmoidBatchNorm2d(4, tasks),
        "layer": lambda tasks: tssbn.TaskSigmoidLayerNorm(4, tasks),
    }
    layer = layers[make](tssbn.Tasks(TASKS)).double()
    nn.init.normal_(layer.gamma)
    general = copy.deepcopy(layer)
    x = torch.randn(6, 4, 3, 4, dtype=torch.float64)
    for mode in True, True, False:
        outputs = []
        for each, forward in (layer, type(layer).forward), (general, TaskSpecificNorm.forward):
            each.train(mode)
            with each.tasks.running(chosen):
                outputs.append(forward(each, stack(x, len(chosen))))
            outputs[-1].square().sum().backward()
        torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.gamma.grad, general.gamma.grad, rtol=1e-10, atol=1e-12)
    for one, other in zip(layer.buffers(), general.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
