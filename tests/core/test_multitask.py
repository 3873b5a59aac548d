"""The multi-task network."""

import copy
import pickle
import threading

import forks
import halves
import pytest
import torch
import torch._dynamo.testing
from asserts import (
    TOLERANCE,
    assert_is_multitask,
    assert_only_own_rows_move,
    assert_round_trips,
    assert_same_outputs,
    assert_stacked_is_separate,
    assert_statistics_are_own,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import NORMS, TASKS, Residual, conv_trunk, images, token_trunk
from settings import DEVICE, DTYPE
from torch import nn
from versions import one_graph

import tssbn
from tssbn.tasks import find_tasks


def network(tasks=TASKS, trunk=conv_trunk, norm="sigmoid", checked=False, **options):
    trunk = trunk().to(DEVICE, DTYPE)
    if norm != "shared":
        trunk = tssbn.task_specific(trunk, tasks, NORMS[norm])
    heads = {task: nn.Sequential(nn.Flatten(), nn.LazyLinear(2)) for task in tasks}
    net = tssbn.MultiTask(trunk, heads, **options).to(DEVICE, DTYPE)
    if checked:
        net.check(images(3, 6))
    net(images(3, 6))  # shapes of the lazy heads
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    return net


def separately(net, x, tasks=TASKS):
    return {task: net(x, tasks=(task,))[task] for task in tasks}


@pytest.mark.parametrize("trunk", [conv_trunk, token_trunk])
@pytest.mark.parametrize("norm", ["sigmoid", "plain"])
def test_one_call_is_a_pass_for_each_task(trunk, norm):
    net = network(trunk=trunk, norm=norm)
    x = images(3, 6)
    assert_stacked_is_separate(net, x)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("norm", NORMS)
def test_what_a_task_does_stays_with_it(norm, task):
    net, x = network(norm=norm), images(3, 6)
    if norm != "statistics":
        assert_only_own_rows_move(net, task, x)
    if norm != "affine":
        assert_statistics_are_own(net, x, task)


@pytest.mark.parametrize("norm", [*NORMS, "shared"])
def test_networks_are_copied_pickled_and_loaded(norm):
    net = network(norm=norm)
    assert_round_trips(net)
    assert_is_multitask(net, images(3, 6))


def test_hard_sharing_is_a_trunk_that_was_not_converted():
    net = network(norm="shared")
    x = images(3, 6)
    y = net(x)
    assert list(y) == list(TASKS) == list(net.tasks)
    for task in TASKS:
        torch.testing.assert_close(y[task], net.heads[task](net.trunk(x)), **TOLERANCE)
    assert list(net(x, tasks=("normal",))) == ["normal"]
    with pytest.raises(ValueError, match="everything is shared already"):
        net.share_stem(x)


def test_a_subset_comes_in_the_networks_order():
    net = network().eval()
    x = images(3, 6)
    every = net(x)
    for tasks in ("depth",), ("normal", "seg"), ["depth", "normal"]:
        y = net(x, tasks=tasks)
        assert list(y) == [task for task in TASKS if task in tasks]
        assert_same_outputs(y, {task: every[task] for task in y})


@pytest.mark.parametrize("features", [list, tuple, dict])
def test_features_may_be_a_tree(features):
    class Taps(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.end = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x):
            taps = {"low": self.stem(x), "high": self.end(x.relu())}
            return taps if features is dict else features(taps.values())

    class Sum(nn.Module):
        def forward(self, taps):
            assert isinstance(taps, features)
            return sum(taps.values() if features is dict else taps)

    trunk = tssbn.task_specific(Taps().to(DEVICE, DTYPE), TASKS)
    nn.init.normal_(trunk.stem.gamma)
    net = tssbn.MultiTask(trunk, {task: Sum() for task in TASKS})
    x = images(3, 6)
    assert_stacked_is_separate(net, x)


def test_several_inputs_are_stacked_together():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, pair):
            return self.norm(pair["left"]) - self.norm(pair["right"]) * pair["weight"]

    net = tssbn.MultiTask(
        tssbn.task_specific(Pair().to(DEVICE, DTYPE), TASKS), {t: nn.Identity() for t in TASKS}
    )
    nn.init.normal_(net.trunk.norm.gamma)
    x = {"left": images(3, 6), "right": images(3, 6), "weight": torch.tensor(0.5)}
    assert_same_outputs(net.eval()(x), separately(net, x))


def test_a_trunk_that_loses_the_batch_is_an_error():
    trunk = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(0, 1))
    heads = {task: nn.Identity() for task in TASKS}
    net = tssbn.MultiTask(tssbn.task_specific(trunk, TASKS), heads)
    with pytest.raises(RuntimeError, match="27 rows, not images x tasks = 3 x 3"):
        net(torch.rand(3, 3, 4, 4))


def test_errors_of_the_constructor_and_of_tasks():
    trunk = tssbn.task_specific(conv_trunk(), TASKS)
    heads = {task: nn.Identity() for task in TASKS}
    with pytest.raises(ValueError, match=r"heads are for \['seg'\], the trunk for \['seg',"):
        tssbn.MultiTask(trunk, {"seg": nn.Identity()})
    with pytest.raises(ValueError, match="tasks is empty"):
        tssbn.MultiTask(conv_trunk(), {})
    with pytest.raises(TypeError, match="heads is a list, must be a dict"):
        tssbn.MultiTask(trunk, list(heads.values()))
    tssbn.MultiTask(trunk, nn.ModuleDict(heads))
    for wrong in (0, 1.5, "all"):
        with pytest.raises(ValueError, match=f"tasks_per_pass={wrong!r} must be an integer from 1"):
            tssbn.MultiTask(trunk, heads, tasks_per_pass=wrong)
    with pytest.raises(ValueError, match=r"parts of the trunk are of different tasks: \['seg', "):
        part = tssbn.task_specific(nn.BatchNorm2d(5), TASKS[::-1])
        tssbn.MultiTask(nn.Sequential(tssbn.task_specific(conv_trunk(), TASKS), part), heads)
    for net in tssbn.MultiTask(trunk, heads), tssbn.MultiTask(conv_trunk(), heads):
        with pytest.raises(ValueError, match=r"unknown tasks \['edges'\].*'depth', 'normal'\]"):
            net(torch.rand(2, 3, 6, 6), tasks=("edges",))
        with pytest.raises(ValueError, match="tasks='seg' is one string"):
            net(torch.rand(2, 3, 6, 6), tasks="seg")


def test_heads_in_another_order_keep_the_trunks_order():
    net = tssbn.MultiTask(
        tssbn.task_specific(conv_trunk(), TASKS), {task: nn.Identity() for task in TASKS[::-1]}
    )
    assert net.tasks == TASKS and list(net(torch.rand(2, 3, 6, 6))) == list(TASKS)


def test_sequence_first_modules_run_one_task_a_pass():
    """Rows that are not images cannot be told apart, so stacking is refused, not attempted."""

    class SequenceFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)

        def forward(self, x):
            return self.attend(x.transpose(0, 1)).transpose(0, 1)

    heads = {task: nn.Identity() for task in TASKS}
    net = tssbn.MultiTask(tssbn.task_specific(SequenceFirst(), TASKS), heads)
    for layer in (net.trunk.attend.norm1, net.trunk.attend.norm2):
        nn.init.normal_(layer.gamma)
    x = torch.rand(3, 5, 8)
    with pytest.raises(ValueError, match=r"'attend.*batch_first=False.*tasks_per_pass=1"):
        net(x)
    net.tasks_per_pass = 1
    assert_stacked_is_separate(net, x)


# -- chunks ---------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(size=st.integers(1, 5), norm=st.sampled_from(["sigmoid", "plain", "statistics"]))
def test_gradients_of_chunks_add_up(size, norm):
    net = network(norm=norm)
    chunked = copy.deepcopy(net)
    chunked.tasks_per_pass = size
    x = images(3, 6)
    sum(y.square().sum() for y in net(x).values()).backward()
    for tasks in chunked.passes():
        assert len(tasks) <= size
        sum(y.square().sum() for y in chunked(x, tasks).values()).backward()
    for one, other in zip(net.parameters(), chunked.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, **TOLERANCE)
    for one, other in zip(net.buffers(), chunked.buffers(), strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)
    assert_same_outputs(net.eval()(x), chunked.eval()(x))


def test_groups_of_tasks_are_even_runs_of_neighbours():
    names = [f"t{i}" for i in range(10)]
    heads = {name: nn.Identity() for name in names}
    net = tssbn.MultiTask(tssbn.task_specific(nn.BatchNorm2d(3), names), heads)
    groups = {k: None for k in (None, 4, 7, 10, 11)}
    for k in groups:
        net.tasks_per_pass = k
        groups[k] = [len(tasks) for tasks in net.passes()]
        assert sum(net.passes(), ()) == tuple(names)
    assert groups == {None: [10], 4: [4, 4, 2], 7: [5, 5], 10: [10], 11: [10]}
    net.tasks_per_pass = 2
    chosen = ("t9", "t0", "t1", "t2", "t5")
    assert list(net.passes(chosen)) == [("t0", "t1"), ("t2",), ("t5",), ("t9",)]
    shared = tssbn.MultiTask(nn.BatchNorm2d(3), heads, tasks_per_pass=1)
    assert list(shared.passes()) == [tuple(names)]  # one pass serves all


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "all"])
def test_tasks_per_pass_is_checked_whenever_it_is_set(wrong):
    net = network()
    with pytest.raises(ValueError, match=f"tasks_per_pass={wrong!r} must be an integer from 1"):
        net.tasks_per_pass = wrong
    assert len(net(images(3, 6))) == 3


# -- the shared stem ------------------------------------------------------------------------------


@pytest.mark.parametrize(("trunk", "stem"), [(conv_trunk, "1"), (token_trunk, "2")])
@pytest.mark.parametrize("norm", ["sigmoid", "plain", "statistics", "affine"])
def test_shared_stem_is_exact(trunk, stem, norm):
    if (trunk, norm) == (conv_trunk, "sigmoid"):
        stem = "3"  # the gates act after the ReLU
    if norm == "statistics" and trunk is token_trunk:
        norm = "plain"
    net = network(trunk=trunk, norm=norm)
    full, x = copy.deepcopy(net), images(3, 6)
    assert net.share_stem(images(3, 6)) == stem
    rows = []
    watch = net.trunk[0].register_forward_hook(lambda module, args, y: rows.append(y.shape[0]))
    modes = [module.training for module in net.modules()]
    for _ in range(2):
        one, other = net(x), full(x)
        assert_same_outputs(one, other)
    assert rows == [3, 3]  # the stem saw every image once
    assert modes == [module.training for module in full.modules()]
    sum(y.square().sum() for y in one.values()).backward()
    sum(y.square().sum() for y in other.values()).backward()
    for a, b in zip(net.parameters(), full.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, **TOLERANCE)
    for a, b in zip(net.buffers(), full.buffers(), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)
    assert_same_outputs(net(x, tasks=("depth",)), full(x, tasks=("depth",)))
    watch.remove()
    for twin in pickle.loads(pickle.dumps(net.eval())), copy.deepcopy(net):
        twin.trunk[0].register_forward_hook(lambda module, args, y: rows.append(y.shape[0]))
        assert_same_outputs(twin(x), net(x))
        assert rows.pop() == 3


def deferring(*after, momentum=0.1, norm=nn.BatchNorm2d):
    """A network whose first norm layer is followed by these layers, and where its tasks part."""
    first = norm(6, momentum=momentum)
    net = network(trunk=lambda: nn.Sequential(nn.Conv2d(3, 6, 3), first, *after))
    return net, net.share_stem(images(3, 6))


@pytest.mark.parametrize(
    "after",
    [
        (nn.ReLU(inplace=True), nn.AvgPool2d(2), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)),
        (nn.LeakyReLU(0.2), nn.MaxPool2d(2), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)),
    ],
)
def test_gates_of_the_first_layer_act_behind_what_they_commute_with(after):
    net, stem = deferring(*after)
    assert stem == "4"  # the second convolution
    full, x = copy.deepcopy(net), images(3, 6)
    full.tasks_per_pass = 1
    for chosen in net.tasks, net.tasks[::2], net.tasks[1:]:
        assert_same_outputs(net(x, chosen), full(x, chosen))
    sum(y.square().sum() for y in net(x).values()).backward()
    sum(y.square().sum() for y in full(x).values()).backward()
    for a, b in zip(net.parameters(), full.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, **TOLERANCE)
    for a, b in zip(net.buffers(), full.buffers(), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)
    assert_same_outputs(net.eval()(x), full.eval()(x))  # here the tasks' statistics differ by now


@pytest.mark.parametrize("after", [nn.GELU(), nn.Sigmoid(), nn.BatchNorm2d(6), nn.Flatten(1)])
def test_gates_do_not_defer_past_what_they_do_not_commute_with(after):
    assert deferring(after, nn.Identity(), nn.Identity())[1] == "2"


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.inner = function, nn.Identity()

    def forward(self, x):
        return self.inner(self.function(x))


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift, self.inner = nn.Parameter(torch.zeros(1, 6, 1, 1)), nn.Identity()

    def forward(self, x):
        return self.inner(x + self.shift)


@pytest.mark.parametrize(
    "after",
    [
        nn.ReLU6(),  # x̂ of the example stays below 6
        Function(nn.functional.relu6),
        Function(lambda x: x.clamp(-8, 8)),
        Function(nn.functional.gelu),
        Function(nn.functional.elu),
        Function(lambda x: x + 1),
        Shifted(),  # by zeros at first
        nn.Conv2d(6, 6, 1, bias=False),  # made with zeros
        nn.Conv2d(6, 6, 1, groups=6, bias=False),
    ],
)
def test_gates_do_not_defer_past_what_only_seems_to_commute(after):
    for parameter in after.parameters():
        nn.init.zeros_(parameter)
    first = nn.BatchNorm2d(6)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 3), first, after, nn.Identity(), nn.BatchNorm2d(6))
    net = tssbn.MultiTask(
        tssbn.task_specific(trunk.to(DEVICE, DTYPE), TASKS), {task: nn.Identity() for task in TASKS}
    )
    assert net.share_stem(images(3, 6)) == "2"


def test_the_first_layer_called_by_itself_does_not_defer():
    net, _ = deferring(nn.ReLU(), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))
    (tasks,) = find_tasks(net)
    message = "4 rows reached a task-specific layer, not a multiple"
    with tasks.running(net.tasks), pytest.raises(RuntimeError, match=message):
        net.trunk[1](torch.rand(4, 6, 3, 3, device=DEVICE, dtype=DTYPE))


def test_gates_of_other_layers_than_the_papers_do_not_defer():
    pretrained = nn.BatchNorm2d(6)
    nn.init.constant_(pretrained.weight, -1.0)
    net = network(trunk=lambda: nn.Sequential(nn.Conv2d(3, 6, 3), pretrained, nn.ReLU()))
    assert net.share_stem(images(3, 6)) == "1"


@pytest.mark.parametrize("momentum", [None, 0.1])
def test_what_is_deferred_is_tracked_as_in_separate_passes(momentum):
    """Also where the tasks were not always together, and where the mean is over all batches."""
    net, stem = deferring(nn.ReLU(), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), momentum=momentum)
    assert stem == "3"
    full = copy.deepcopy(net)
    full.tasks_per_pass = 1
    for tasks in net.tasks, ("depth",), net.tasks[1:], net.tasks:
        x = images(3, 6)
        assert_same_outputs(net(x, tasks), full(x, tasks))
    for one, other in zip(net.buffers(), full.buffers(), strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


def test_what_is_deferred_is_normalised_once_and_counted_once():
    net, _ = deferring(nn.ReLU(), nn.Conv2d(6, 6, 1))
    rows = []
    net.trunk[2].register_forward_hook(lambda module, args, y: rows.append(y.shape[0]))
    net(images(3, 6))
    assert rows == [3]
    count = net.trunk[1]._buffers["num_batches_tracked"]
    assert count.tolist() == [2] * len(net.tasks)  # once when the network was made


def test_a_deep_fresh_network_hides_no_mistake():
    """In eval mode its signal fades, and a gate behind the convolution makes no difference."""
    blocks = [
        layer
        for _ in range(12)
        for layer in (nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
    ]
    net = network(trunk=lambda: nn.Sequential(nn.Conv2d(3, 6, 3), *blocks[1:]))
    assert net.share_stem(images(3, 6)) == "3"


class Noisy(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(nn.functional.dropout(x, training=self.training))


def test_a_layer_that_draws_while_training_is_tried_in_evaluation():
    assert deferring(nn.ReLU(), nn.Conv2d(6, 6, 1), Noisy(6), norm=Noisy)[1] == "1"


def test_the_stem_can_be_shared_again_and_draws_nothing():
    net, stem = deferring(nn.ReLU(), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6))
    x, state = images(3, 6), torch.get_rng_state()
    assert net.share_stem(x) == stem == "3"
    assert torch.equal(torch.get_rng_state(), state)


def test_shared_stem_goes_out_to_where_parallel_branches_part():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.one(x) + self.two(x.relu())

    net = network(trunk=lambda: nn.Sequential(nn.Conv2d(3, 3, 1), Branches()))
    assert net.share_stem(images(3, 6)) == "1"


def test_shared_stem_falls_back_to_the_whole_trunk():
    net = network(trunk=lambda: Residual(6))
    assert net.share_stem(images(3, 6)) == ""


def test_windows_before_the_first_norm_are_not_mistaken_for_a_stem():
    """Parting inside the windows would fit in shape and mix the tasks where they meet again."""

    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(6)

        def forward(self, x):
            windows = self.norm(x.unflatten(2, (3, 2)).movedim(2, 1).flatten(0, 1))
            return windows.unflatten(0, (-1, 3)).movedim(1, 2).flatten(2, 3)

    net = network(trunk=Windows, checked=True)
    assert net.share_stem(images(3, 6)) == ""
    x = images(3, 6)
    assert_stacked_is_separate(net, x)


def test_a_failing_check_leaves_the_network_as_it_was():
    class Falls(nn.Sequential):
        def forward(self, x):
            if not self.training:
                raise ArithmeticError("not in evaluation")
            return super().forward(x)

    net = network(trunk=lambda: Falls(nn.BatchNorm2d(3)))
    with pytest.raises(ArithmeticError):
        net.check(images(3, 6))
    assert all(module.training for module in net.modules())
    assert len(net(images(3, 6))) == 3

    class Shrinks(nn.Sequential):  # as many rows as there are images, whatever comes in
        def forward(self, x):
            return super().forward(x)[:3]

    net.trunk = Shrinks(nn.BatchNorm2d(3)).to(DEVICE, DTYPE)
    net = tssbn.MultiTask(tssbn.task_specific(net.trunk, TASKS), dict(net.heads))
    with pytest.raises(ValueError, match="mixes rows"):
        net.check(images(3, 6))


def test_share_stem_takes_any_leaf():
    """Masks, indices and scalars beside the features, and a module that insists on its shapes."""

    class Outputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x):
            y = self.norm(x)
            assert y.shape == x.shape
            return y, y > 0, y.flatten(1).argmax(1), torch.zeros(())

    trunk = tssbn.task_specific(Outputs().to(DEVICE, DTYPE), TASKS)
    net = tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS})
    nn.init.normal_(trunk.norm.gamma)
    x = images(3, 6)
    before = net.eval()(x)
    assert net.share_stem(x) == ""
    after = net(x)
    assert all(torch.equal(after[t][i], before[t][i]) for t in TASKS for i in range(3))


def test_parts_of_an_image_run_stacked_only_after_the_check():
    class Frames(nn.Module):  # (N, F, C) -> each frame by itself -> (N, C)
        def __init__(self, frames_first):
            super().__init__()
            self.norm, self.frames_first = nn.BatchNorm1d(6), frames_first

        def forward(self, x):
            x = x.flatten(2)[..., :6]
            if self.frames_first:
                x = x.transpose(0, 1)
            y = self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            return y.mean(0 if self.frames_first else 1)

    def build(frames_first):
        trunk = tssbn.task_specific(Frames(frames_first).to(DEVICE, DTYPE), TASKS)
        nn.init.normal_(trunk.norm.gamma)
        return tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS})

    x = images(3, 6)
    good, bad = build(False), build(True)
    for net in good, bad:
        with pytest.raises(RuntimeError, match=r"27 rows .*, 3 for each image and task.*check"):
            net(x)
    good.check(x)
    assert_same_outputs(good(x), separately(good, x))
    with pytest.raises(ValueError, match="mixes rows of a batch"):
        bad.check(x)
    with pytest.raises(RuntimeError, match="3 for each image and task"):
        bad(x)
    bad.tasks_per_pass = 1
    assert_same_outputs(bad(x), separately(bad, x))


def test_inputs_of_different_length_are_refused():
    class Pair(nn.Sequential):
        def forward(self, pair):
            return super().forward(pair[0]), super().forward(pair[1])

    net = tssbn.MultiTask(
        tssbn.task_specific(Pair(nn.BatchNorm2d(3)).to(DEVICE, DTYPE), TASKS),
        {task: nn.Identity() for task in TASKS},
    )
    with pytest.raises(ValueError, match="inputs of 3 and 6 rows cannot be stacked"):
        net((images(3, 6), images(6, 6)))
    assert len(net((images(3, 6), images(6, 6)), ("seg",))["seg"][1]) == 6


def test_a_trunk_whose_output_holds_no_tensor_is_refused():
    class Box:
        def __init__(self, value):
            self.value = value

    class Boxed(nn.Sequential):
        def forward(self, x):
            return Box(super().forward(x))

    trunk = tssbn.task_specific(Boxed(nn.BatchNorm2d(3)).to(DEVICE, DTYPE), TASKS)
    net = tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS})
    with pytest.raises(ValueError, match="Box in which no tensor is found"):
        net(images(3, 6))
    assert isinstance(net(images(3, 6), ("seg",))["seg"], Box)  # one task takes what there is


def test_share_stem_needs_two_images_and_rows_that_do_not_mix():
    net = network()
    with pytest.raises(ValueError, match="example has one image"):
        net.share_stem(images(1, 6))

    class Mixes(nn.Sequential):
        def forward(self, x):
            return super().forward(x - x.mean(dim=0))

    net = network(trunk=lambda: Mixes(nn.BatchNorm2d(3), nn.ReLU(), Mixes(nn.BatchNorm2d(3))))
    with pytest.raises(ValueError, match=r"mixes rows of a batch.*run it with tasks_per_pass=1"):
        net.share_stem(images(3, 6))


# -- a new task -----------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["sigmoid", "plain", "statistics", "affine"])
@pytest.mark.parametrize("like", [None, "depth"])
def test_add_task(norm, like):
    net = network(norm=norm)
    net(images(3, 6))
    net.eval()
    x = images(3, 6)
    before = net(x)
    net.add_task("edges", copy.deepcopy(net.heads["depth"]), like=like)
    after = net(x)
    assert list(after) == [*TASKS, "edges"] == list(net.tasks)
    assert all(torch.equal(after[task], before[task]) for task in TASKS)
    if like:
        torch.testing.assert_close(after["edges"], before["depth"], **TOLERANCE)
    elif norm == "sigmoid":
        assert (tssbn.gates.importance(net).values[3] == 0.5).all()
    sum(y.sum() for y in net.train()(x).values()).backward()
    restored = network((*TASKS, "edges"), norm=norm)
    restored.load_state_dict(net.state_dict())
    assert_same_outputs(restored.eval()(x), net.eval()(x))


def test_add_task_to_a_preserving_network_starts_from_the_mean_bias():
    trunk = nn.Sequential(nn.BatchNorm2d(3))
    nn.init.normal_(trunk[0].bias)
    trunk = tssbn.task_specific(trunk.to(DEVICE, DTYPE), ("a", "b"))
    net = tssbn.MultiTask(trunk, {"a": nn.Identity(), "b": nn.Identity()})
    nn.init.normal_(trunk[0].beta)
    net.add_task("c", nn.Identity())
    torch.testing.assert_close(trunk[0].beta[2], trunk[0].beta[:2].mean(0))


def test_add_task_errors():
    net = network()
    with pytest.raises(ValueError, match=r"names \['seg'\] more than once"):
        net.add_task("seg", nn.Identity())
    with pytest.raises(ValueError, match="like='edges' is unknown"):
        net.add_task("edges", nn.Identity(), like="edges")
    before = net.state_dict()
    with pytest.raises(TypeError, match="is not a Module subclass"):
        net.add_task("edges", "no module")
    with pytest.raises(ValueError, match="'type' is a word of torch"):
        net.add_task("type", nn.Identity())
    assert net.tasks == TASKS and list(net.heads) == list(TASKS)
    assert all(value.shape == before[name].shape for name, value in net.state_dict().items())
    shared = network(norm="shared")
    with pytest.raises(ValueError, match="like='nonsense' is unknown"):
        shared.add_task("edges", nn.Identity(), like="nonsense")
    shared.add_task("edges", nn.Identity())
    assert shared.tasks == (*TASKS, "edges")


# -- with the rest of PyTorch ---------------------------------------------------------------------


def test_state_dict_refuses_other_tasks():
    net, other = network(("a", "b")), network(("b", "a"))
    with pytest.raises(ValueError, match=r"of tasks \['b', 'a'\], this network has \['a', 'b'\]"):
        net.load_state_dict(other.state_dict())
    # Tensors only, so that torch.load(weights_only=True) and safetensors take it.
    assert all(isinstance(value, torch.Tensor) for value in net.state_dict().values())


def test_autocast():
    net = network().float()
    x = images(3, 6).float()
    with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
        y = net(x)
        each = separately(net, x)
    for task in TASKS:
        assert y[task].dtype is torch.bfloat16
        torch.testing.assert_close(y[task], each[task], rtol=2e-2, atol=2e-2)
    sum(v.float().sum() for v in y.values()).backward()
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in net.parameters())


def both_trunks():
    """Convolutions, and tokens of what they give."""
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(4, 8), Residual(8), nn.LayerNorm(8))
    return nn.Sequential(conv_trunk(), tokens)


@one_graph
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
@pytest.mark.parametrize(
    ("trunk", "stem"), [(both_trunks, False), (conv_trunk, True), (token_trunk, True)]
)
def test_compiles_to_one_graph_without_recompiling(trunk, stem):
    torch._dynamo.reset()
    net = network(trunk=trunk)
    if stem:
        net.share_stem(images(3, 6))
    eager = copy.deepcopy(net)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    for _ in range(3):
        x = images(3, 6)
        one, other = compiled(x), eager(x)
        assert_same_outputs(one, other)
    assert counter.frame_count == 1
    sum(y.square().sum() for y in one.values()).backward()
    sum(y.square().sum() for y in other.values()).backward()
    for a, b in zip(net.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, **TOLERANCE)
    for a, b in zip(net.buffers(), eager.buffers(), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)
    for _ in range(2):
        compiled(x, tasks=("depth",))
    assert counter.frame_count == 2  # one more graph for another set of tasks
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
def test_compiles_before_it_ever_ran_and_for_any_batch():
    """A fresh network, in the main thread and in another, with batches of changing size."""
    torch._dynamo.reset()
    net = tssbn.MultiTask(
        tssbn.task_specific(conv_trunk().to(DEVICE, DTYPE), TASKS),
        {task: nn.Identity() for task in TASKS},
    ).eval()
    eager = copy.deepcopy(net)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    got = {}

    def work():
        for count in (2, 2, 5, 3):
            x = images(count, 6)
            got[count] = x, compiled(x)

    for _ in range(2):
        work()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    for x, y in got.values():
        assert_same_outputs(y, eager(x))
    torch._dynamo.reset()


@pytest.mark.parametrize("whole", [False, True])
def test_pytorchs_transformer_runs_in_inference_mode(whole):
    """Its fast path reads the weights of its norms by itself, so it must not be taken."""
    trunk = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    if whole:
        trunk = nn.TransformerEncoder(trunk, 2, enable_nested_tensor=False)
    trunk = tssbn.task_specific(trunk.to(DEVICE, DTYPE), TASKS)
    for name, parameter in trunk.named_parameters():
        if name.endswith("gamma"):
            nn.init.normal_(parameter)
    net = tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS}).eval()
    x = torch.rand(3, 5, 8, device=DEVICE, dtype=DTYPE)
    expected = net(x)
    with torch.no_grad():
        assert_same_outputs(net(x), expected)
        assert_same_outputs(separately(net, x), expected)


def test_threads_run_different_tasks_of_one_network():
    net = network().eval()
    x = images(3, 6)
    expected = separately(net, x)
    got = {}

    def work(task):
        for _ in range(20):
            got[task] = net(x, tasks=(task,))[task]

    threads = [threading.Thread(target=work, args=(task,)) for task in TASKS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(got[task], expected[task]) for task in TASKS)


def test_checkpointing_inside_the_trunk_is_refused():
    """Its recomputation runs outside the pass; another task's gates would be a silent error."""

    class Checkpointed(nn.Sequential):
        def forward(self, x):
            return torch.utils.checkpoint.checkpoint(super().forward, x, use_reentrant=False)

    net = network(trunk=lambda: Checkpointed(*conv_trunk()))
    with pytest.raises(RuntimeError, match="Activation checkpointing"):
        sum(y.sum() for y in net(images(3, 6).requires_grad_()).values()).backward()


@pytest.mark.filterwarnings("ignore:find_unused_parameters=True was specified")
def test_distributed_data_parallel(tmp_path):
    """Two gloo processes: gradients are the mean of those of the two halves of the batch."""
    net = halves.network()
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    batch = torch.randn(6, 3, 6, 6, dtype=torch.float64)
    given = (tmp_path / "store").as_uri(), net.state_dict(), batch
    other = forks.CONTEXT.Process(target=halves.gradients, args=(1, *given))
    other.start()
    got = halves.gradients(0, *given)
    other.join()
    assert other.exitcode == 0
    sum(y.square().mean() for half in batch.chunk(2) for y in net(half).values()).backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad / 2)
