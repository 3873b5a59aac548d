"""Named properties of layers and networks; a test asserts one by its name."""

import copy
import io
import pickle

import torch
from settings import DTYPE

from tssbn import MultiTaskNetwork
from tssbn.norm.converted import STATISTICS
from tssbn.stacking import tensors
from tssbn.tasks import TaskSpecific

EXACT = DTYPE is torch.float64
DOUBLE, SINGLE = {"rtol": 1e-10, "atol": 1e-12}, {"rtol": 1e-4, "atol": 1e-5}
TOLERANCE = DOUBLE if EXACT else SINGLE
ABSOLUTE = {"rtol": 0, "atol": 1e-10 if EXACT else 1e-4}  # outputs near 0, of long networks


def assert_same_outputs(one, other, **tolerance):
    """The same tasks in the same order, with the same outputs up to rounding."""
    assert list(one) == list(other)
    for task in one:
        for got, expected in zip(tensors(one[task]), tensors(other[task]), strict=True):
            usual = DOUBLE if expected.dtype is torch.float64 else SINGLE
            torch.testing.assert_close(got, expected, **(tolerance or usual))


def assert_same_network(one, other):
    """The same names in the state, and the same bits behind each."""
    mine, theirs = one.state_dict(), other.state_dict()
    assert list(mine) == list(theirs)
    for name, value in mine.items():
        same = torch.equal(value, theirs[name]) if torch.is_tensor(value) else value == theirs[name]
        assert same, name


def assert_stacked_is_separate(net, x, tasks=None, **tolerance):
    """One pass of some tasks is a pass for each: outputs, gradients and statistics."""
    single = any(p.dtype is not torch.float64 for p in net.parameters())
    tolerance = tolerance or (SINGLE if single else DOUBLE)
    apart = copy.deepcopy(net)
    apart.tasks_per_pass, apart.stem = 1, ""
    outputs, expected = net(x, tasks), apart(x, tasks)
    assert_same_outputs(outputs, expected, **tolerance)
    for (name, mine), theirs in zip(net.named_buffers(), apart.buffers(), strict=True):
        torch.testing.assert_close(
            mine, theirs, **tolerance, msg=lambda text, n=name: f"{n}: {text}"
        )
    for got, other in zip(_gradients(net, outputs), _gradients(apart, expected), strict=True):
        size = float(other.abs().max()) if other.numel() else 0.0
        atol = tolerance["atol"] + tolerance["rtol"] * size  # of sums over all rows
        torch.testing.assert_close(got, other, rtol=0, atol=10 * atol)


def assert_statistics_are_own(net, x, task):
    """A training pass of one task moves the rows of its statistics and no others."""
    before = {name: value.clone() for name, value in net.named_buffers()}
    net.train()(x, (task,))
    row, rows = net.tasks.index(task), 0
    for path, layer in _task_specific(net):
        for name in set(layer.per_task) & set(STATISTICS):
            if (now := layer._buffers.get(name)) is not None:
                then = before[f"{path}.{name}".removeprefix(".")]
                moved = (now != then).reshape(len(now), -1).any(1).tolist()
                assert moved == [i == row for i in range(len(net.tasks))], f"{path}.{name}"
                rows += 1
    assert rows, "the network has no statistics of its tasks"


def assert_only_own_rows_move(net, task, x):
    """The loss of a task reaches its own rows and head, and no other task's."""
    (output,) = net(x, (task,)).values()
    loss = sum(part.square().sum() for part in tensors(output))
    names = [name for name, p in net.named_parameters() if p.requires_grad]
    parameters = [p for p in net.parameters() if p.requires_grad]
    found = dict(zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True))
    row, rows = net.tasks.index(task), 0
    for path, layer in _task_specific(net):
        for name in set(layer.per_task) & set(layer._parameters):
            gradient = found.get(f"{path}.{name}".removeprefix("."))
            if gradient is not None:
                moved = (gradient != 0).flatten(1).any(1).tolist()
                assert moved == [other == row for other in range(len(net.tasks))], f"{path}.{name}"
                rows += 1
    assert rows, "the network has no rows of its tasks"
    for other in set(net.tasks) - {task}:
        reached = [n for n, g in found.items() if n.startswith(f"heads.{other}.") and g is not None]
        assert not reached


def assert_round_trips(module):
    """Copied, pickled, saved and loaded a module is the same, and its copies are its own."""
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    twins = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    twins = (*twins, torch.load(file, weights_only=False))
    for twin in twins:
        assert type(twin) is type(module) and repr(twin) == repr(module)
        assert_same_network(twin, module)
        mine = {
            tensor.data_ptr() for tensor in module.state_dict().values() if torch.is_tensor(tensor)
        }
        theirs = [tensor for tensor in twin.state_dict().values() if torch.is_tensor(tensor)]
        assert not any(tensor.data_ptr() in mine for tensor in theirs if tensor.numel())
    loaded = copy.deepcopy(module)
    for value in (*loaded.parameters(), *loaded.buffers()):
        value.data.zero_()
    loaded.load_state_dict(module.state_dict())
    assert_same_network(loaded, module)


def assert_is_multitask(net, x):
    """The contract of a network: names, groups, subsets, and what is shared."""
    assert isinstance(net, MultiTaskNetwork)
    with torch.no_grad():
        assert net.tasks == tuple(net(x)) == sum(net.passes(), ())
        for task in net.tasks:
            assert list(net(x, (task,))) == [task]
    parameters = [p for p in net.parameters() if p.requires_grad]
    reached = [0] * len(parameters)
    for output in net(x).values():
        loss = sum(part.square().sum() for part in tensors(output))
        for i, gradient in enumerate(
            torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        ):
            reached[i] += gradient is not None
    # A row for each task is one tensor, of which a loss reaches its own row.
    rows = {
        id(layer._parameters[name])
        for _, layer in _task_specific(net)
        for name in set(layer.per_task) & set(layer._parameters)
    }
    several = {id(p) for p, count in zip(parameters, reached, strict=True) if count > 1}
    assert {id(p) for p in net.shared()} == several - rows


def _storages(module):
    values = (*module.parameters(), *module.buffers())
    return {value.data_ptr() for value in values if value.numel()}


def _task_specific(net):
    return [(n, m) for n, m in net.named_modules() if isinstance(m, TaskSpecific)]


def _gradients(net, outputs):
    """Of the sum of squares, for each parameter; zeros where it is not reached."""
    loss = sum(part.square().sum() for part in tensors(list(outputs.values())))
    parameters = [p for p in net.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [
        torch.zeros_like(p) if gradient is None else gradient
        for p, gradient in zip(parameters, found, strict=True)
    ]


def assert_shared_is_what_several_losses_reach(net, x):
    """The shared parameters are those that more than one task's loss reaches; each is reached."""
    parameters = list(net.parameters())
    reached = [0] * len(parameters)
    for y in net(x).values():
        slopes = torch.autograd.grad(
            y.square().sum(), parameters, retain_graph=True, allow_unused=True
        )
        reached = [n + (slope is not None) for n, slope in zip(reached, slopes, strict=True)]
    expected = {id(p) for p, n in zip(parameters, reached, strict=True) if n > 1}
    assert {id(p) for p in net.shared()} == expected
    assert min(reached) > 0
