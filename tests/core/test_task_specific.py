"""The task-specific layers: stacking, statistics and who sees what."""

import threading

import pytest
import torch
from asserts import TOLERANCE
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import HOSTS, NORMS, normal
from settings import DEVICE, DTYPE
from torch import nn

import tssbn
from tssbn.tasks import find_tasks


def make(host, tasks, channels=4, norm="sigmoid", **options):
    layer = tssbn.task_specific(
        HOSTS[host](channels).to(DEVICE, DTYPE), tasks, NORMS[norm], **options
    )
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


def run(layer, x, tasks):
    """Rows of the layer's output, image by image."""
    names = (tasks,) if isinstance(tasks, str) else tasks
    (known,) = find_tasks(layer)
    y = tssbn.MultiTask(layer, {task: nn.Identity() for task in known.names})(x, names)
    return torch.stack([y[task] for task in names], dim=1).flatten(0, 1)


def assert_stacked_is_separate(layer, x):
    y = run(layer, x, ("a", "b")).unflatten(0, (len(x), 2))
    for t, task in enumerate("ab"):
        torch.testing.assert_close(run(layer, x, task), y[:, t], **TOLERANCE)


@settings(max_examples=60)
@given(
    host=st.sampled_from(sorted(HOSTS)),
    count=st.integers(1, 4),
    batch=st.integers(1, 3),
    training=st.booleans(),
    data=st.data(),
)
def test_stacked_equals_separate(host, count, batch, training, data):
    """Outputs, statistics and gradients, for any layer and any subset of the tasks."""
    tasks = tuple("abcd"[:count])
    subset = tuple(data.draw(st.lists(st.sampled_from(tasks), min_size=1, unique=True)))
    subset = tuple(task for task in tasks if task in subset)
    stacked = make(host, tasks).train(training)
    separate = make(host, tasks).train(training)
    separate.load_state_dict(stacked.state_dict())
    x, upstream = normal(batch, 4, 3, 2), normal(batch, len(subset), 4, 3, 2)
    for _ in range(2):
        y = run(stacked, x, subset).unflatten(0, (batch, len(subset)))
        each = torch.stack([run(separate, x, task) for task in subset], dim=1)
        torch.testing.assert_close(y, each, **TOLERANCE)
    (y * upstream).sum().backward()
    (each * upstream).sum().backward()
    torch.testing.assert_close(stacked.gamma.grad, separate.gamma.grad, **TOLERANCE)
    for name, value in stacked.state_dict().items():
        torch.testing.assert_close(value, separate.state_dict()[name], **TOLERANCE)


@pytest.mark.parametrize(
    ("host", "norm"),
    [(h, n) for h in HOSTS for n in NORMS if n != "statistics" or "batch" in h],
)
def test_one_task_is_the_ordinary_layer(host, norm):
    plain = HOSTS[host](4).to(DEVICE, DTYPE)
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    ours = HOSTS[host](4).to(DEVICE, DTYPE)
    ours.load_state_dict(plain.state_dict())
    ours = tssbn.task_specific(ours, ("only",), NORMS[norm])
    has_affine = next(plain.parameters(), None) is not None
    half = 0.5 if norm == "sigmoid" and not has_affine else 1.0  # nothing there to preserve
    for mode in (True, True, False):
        x = normal(5, 4, 3, 2) * 2 + 1
        expected = plain.train(mode)(x)
        torch.testing.assert_close(run(ours.train(mode), x, "only"), half * expected, **TOLERANCE)


@pytest.mark.parametrize("host", HOSTS)
def test_permuting_the_tasks_permutes_the_outputs(host):
    ours, other = make(host, ("a", "b", "c")), make(host, ("c", "a", "b"))
    with torch.no_grad():
        other.gamma.copy_(ours.gamma[[2, 0, 1]])
    x = normal(2, 4, 3, 2)
    ours = run(ours, x, ("a", "b", "c")).unflatten(0, (2, 3))
    other = run(other, x, ("c", "a", "b")).unflatten(0, (2, 3))
    torch.testing.assert_close(other, ours[:, [2, 0, 1]], **TOLERANCE)


def test_rows_are_image_major():
    """Row b·T + t is image b with the gates of task t."""
    layer = make("batch", ("a", "b", "c"), affine="paper").eval()
    x = normal(2, 4, 3, 2)
    y = run(layer, x, ("a", "b", "c"))
    for b in range(2):
        for t in range(3):
            gate = torch.sigmoid(layer.gamma[t]).reshape(4, 1, 1)
            torch.testing.assert_close(y[3 * b + t], gate * x[b] / (1 + 1e-5) ** 0.5, **TOLERANCE)


def test_statistics_are_each_tasks_own():
    """Tasks that see different activations keep different statistics, those of a lone BatchNorm."""
    net = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).to(DEVICE, DTYPE)
    net = tssbn.task_specific(net, ("a", "b"), affine="paper")
    with torch.no_grad():
        net[0].gamma.copy_(torch.tensor([[3.0] * 4, [-3.0] * 4]))
    x = normal(8, 4, 3, 2)
    run(net, x, ("a", "b"))
    first, second = (net[i].state_dict()["running_var"] for i in (0, 2))
    assert torch.equal(first[0], first[1])  # the first layer sees the same input for every task
    for t in range(2):
        alone = nn.BatchNorm2d(4).to(DEVICE, DTYPE)
        alone(net[1](torch.sigmoid(net[0].gamma[t, 0]) * nn.BatchNorm2d(4).to(DEVICE, DTYPE)(x)))
        torch.testing.assert_close(second[t], alone.running_var, **TOLERANCE)
    assert not torch.allclose(second[0], second[1])


def test_a_subset_leaves_the_other_tasks_alone():
    layer = make("batch", ("a", "b", "c"))
    before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    run(layer, normal(4, 4, 3, 2), ("a", "c"))
    for name in "running_mean", "running_var", "num_batches_tracked":
        buffer = layer.get_buffer(name)
        assert torch.equal(buffer[1], before[name][1])
        assert not torch.equal(buffer[0], before[name][0])
        assert not torch.equal(buffer[2], before[name][2])


def test_one_tasks_nan_stays_its_own_and_is_noticed():
    """A broken gate poisons neither the rows nor the statistics of the others; gates report it."""
    net = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)).to(DEVICE, DTYPE)
    net = tssbn.task_specific(net, ("a", "b"))
    with torch.no_grad():
        net[0].gamma[0, 1] = torch.nan
    y = run(net, normal(3, 4, 3, 2), ("a", "b")).unflatten(0, (3, 2))
    assert y[:, 0].isnan().any() and y[:, 1].isfinite().all()
    means = net[2].state_dict()["running_mean"]
    assert means[0].isnan().any() and means[1].isfinite().all()
    with pytest.raises(ValueError, match=r"layer '0' has gates that are not numbers.*\['a'\]"):
        tssbn.gates.importance(net)


def test_windows_of_an_image_keep_their_task():
    """A layer that sees k parts of every image still finds their task."""

    class Windows(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.norm = norm

        def forward(self, x):  # (N, 8, C) -> (4N, 2, C) and back
            windows = self.norm(x.unflatten(1, (4, 2)).flatten(0, 1))
            return windows.unflatten(0, (-1, 4)).flatten(1, 2)

    for norm in nn.LayerNorm(6), nn.BatchNorm1d(2):
        net = tssbn.task_specific(Windows(norm).to(DEVICE, DTYPE), ("a", "b", "c"))
        nn.init.normal_(net.norm.gamma)
        x = normal(2, 8, 6)
        tssbn.MultiTask(net, {task: nn.Identity() for task in "abc"}).check(normal(2, 8, 6))
        stacked = run(net, x, ("a", "b", "c")).unflatten(0, (2, 3))
        for t, task in enumerate("abc"):
            torch.testing.assert_close(run(net, x, task), stacked[:, t], **TOLERANCE)


def test_channels_last_gives_the_same():
    net = nn.Sequential(nn.Conv2d(4, 4, 1), HOSTS["batch"](4)).to(DEVICE, DTYPE)
    net = tssbn.task_specific(net, ("a", "b"))
    nn.init.normal_(net[1].gamma)
    x = normal(3, 4, 3, 2)
    expected = run(net, x, ("a", "b"))
    seen = []
    net[0].register_forward_hook(lambda module, args, y: seen.append(y.is_contiguous()))
    got = run(net.to(memory_format=torch.channels_last), x, ("a", "b"))
    torch.testing.assert_close(got, expected, **TOLERANCE)
    assert seen == [False]  # the layer did meet that layout


def test_stacking_makes_no_copy():
    """The stacked view of a contiguous tensor shares its memory with it."""
    seen = []

    class Spy(nn.BatchNorm2d):
        def forward(self, x):
            seen.append(x.data_ptr())
            return super().forward(x)

    class Remember(nn.Module):
        def forward(self, x):
            seen.append(x.data_ptr())
            return x

    net = tssbn.task_specific(nn.Sequential(Remember(), Spy(4)).to(DEVICE, DTYPE), ("a", "b"))
    run(net, normal(3, 4, 3, 2), ("a", "b"))
    assert seen[0] == seen[1]


def test_shared_statistics_are_those_of_all_rows():
    """norm="affine": one mean and variance over the rows of all tasks."""
    layer = make("batch", ("a", "b"), norm="affine")
    x = normal(5, 4, 3, 2) * 3 + 1
    y = run(layer, x, ("a", "b")).unflatten(0, (5, 2))
    plain = nn.BatchNorm2d(4).to(DEVICE, DTYPE)
    normalised = plain(x.repeat_interleave(2, 0))[::2]  # every image stands there twice
    assert layer.running_mean.shape == (4,)
    torch.testing.assert_close(layer.running_var, plain.running_var, **TOLERANCE)
    for t in range(2):
        expected = normalised * layer.gamma[t, :, None, None] + layer.beta[t, :, None, None]
        torch.testing.assert_close(y[:, t], expected, **TOLERANCE)


def test_statistics_only_shares_the_affine_part():
    plain = nn.BatchNorm2d(4).to(DEVICE, DTYPE)
    weight = plain.weight
    layer = tssbn.task_specific(plain, ("a", "b"), NORMS["statistics"])
    assert dict(layer.named_parameters()).keys() == {"weight", "bias"}
    assert layer._parameters["weight"] is weight
    assert layer.state_dict()["running_mean"].shape == (2, 4)


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_are_right(norm):
    layer = make("batch", ("a", "b"), channels=2, norm=norm).double()
    x = torch.randn(2, 2, 3, 2, device=DEVICE, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters(), strict=True)

    (tasks,) = find_tasks(layer)

    def output(x, *values):
        with tasks.running(("a", "b")):
            state = dict(zip(names, values, strict=True))
            return torch.func.functional_call(layer, state, (x.repeat_interleave(2, 0),))

    assert torch.autograd.gradcheck(output, (x, *values))


def test_two_forwards_before_one_backward():
    layer = make("batch", ("a", "b", "c"))
    x = normal(3, 4, 3, 2).requires_grad_()
    sum(run(layer, x, t).square().sum() for t in (("a", "b", "c"), ("a", "c"), "b")).backward()
    assert x.grad.isfinite().all()


def test_running_outside_a_pass_is_an_error():
    layer = make("batch", ("a", "b"))
    with pytest.raises(RuntimeError, match=r"no task is selected.*select\(trunk, 'a'\)"):
        layer(normal(2, 4, 3, 2))


def test_calling_a_part_of_the_trunk_with_several_tasks_is_an_error():
    net = nn.Sequential(nn.Identity(), HOSTS["batch"](4)).to(DEVICE, DTYPE)
    net = tssbn.task_specific(net, ("a", "b"))
    x = normal(3, 4, 3, 2)
    with tssbn.select(net, "a"):
        assert net[1](x).shape == x.shape  # one task needs no stacking
    (tasks,) = find_tasks(net)
    with tasks.running(("a", "b")), pytest.raises(RuntimeError, match="3 rows reached"):
        net[1](x)
    refused = pytest.raises(ValueError, match=r"task=\('a', 'b'\) must be one name of \['a', 'b'\]")
    with refused, tssbn.select(net, ("a", "b")):
        pass


def test_a_single_value_per_channel_is_an_error():
    """Two tasks of one 1x1 image are two rows, yet each has nothing to average over."""
    layer = make("batch", ("a", "b"))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        run(layer, normal(1, 4, 1, 1), ("a", "b"))


def test_unknown_and_repeated_tasks():
    layer = make("batch", ("a", "b"))
    with pytest.raises(ValueError, match=r"unknown tasks \['c'\].*\['a', 'b'\]"):
        run(layer, normal(2, 4, 3, 2), ("a", "c"))
    with pytest.raises(ValueError, match=r"names \['a'\] more than once"):
        run(layer, normal(2, 4, 3, 2), ("a", "a"))
    with pytest.raises(ValueError, match="no task-specific layer"), tssbn.select(nn.ReLU(), "a"):
        pass


def test_contexts_nest_and_networks_do_not_meet():
    one, two = make("batch", ("a", "b")), make("batch", ("b", "a"))
    x = normal(3, 4, 3, 2)
    alone = run(one.eval(), x, "b")
    with tssbn.select(one, "b"), tssbn.select(two, "a"):
        assert run(one, x, ("a", "b")).shape[0] == 6
        assert torch.equal(one(x), alone)
    assert len({id(tasks) for layer in (one, two) for tasks in find_tasks(layer)}) == 2


def test_passes_that_end_out_of_order_are_noticed():
    """Two coroutines that wait inside their passes would run each other's tasks."""
    layer = make("batch", ("a", "b"))

    def waits(task):
        with tssbn.select(layer, task):
            yield

    for second in "b", "a":
        one, two = waits("a"), waits(second)
        next(one)
        next(two)
        with pytest.raises(RuntimeError, match="passes ended out of order"):
            one.close()
        two.close()
        with pytest.raises(RuntimeError, match="no task is selected"):  # nothing stays behind
            layer(normal(2, 4, 3, 2))


def test_hosts_that_mix_channels_run_task_by_task():
    class Halves(nn.BatchNorm2d):
        def forward(self, x):
            return nn.functional.glu(super().forward(x), dim=1)

    layer = tssbn.task_specific(Halves(4).to(DEVICE, DTYPE), ("a", "b"))
    nn.init.normal_(layer.gamma)
    assert_stacked_is_separate(layer, normal(3, 4, 3, 2))


def test_fused_layers_of_timm():
    timm = pytest.importorskip("timm")
    fused = timm.layers.BatchNormAct2d
    for act in nn.SiLU, lambda inplace=False: nn.PReLU(4), lambda inplace=False: nn.GLU(1):
        layer = tssbn.task_specific(fused(4, act_layer=act).to(DEVICE, DTYPE), ("a", "b"))
        nn.init.normal_(layer.gamma)
        assert_stacked_is_separate(layer, normal(3, 4, 3, 2))


def test_an_empty_batch_in_evaluation():
    for host in "batch", "group", "layer":
        assert run(make(host, ("a", "b")).eval(), normal(0, 4, 3, 2), ("a", "b")).shape[0] == 0


def test_shared_statistics_of_an_instance_norm_and_under_autocast():
    layer = make("instance", ("a", "b"), norm="affine")
    assert layer.running_mean.shape == (4,)
    layer = make("batch", ("a", "b"), norm="affine").float()
    with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
        assert run(layer, normal(3, 4, 3, 2).bfloat16(), ("a", "b")).dtype is torch.bfloat16


def test_threads_do_not_meet():
    """Both threads are inside their pass while either runs."""
    layer = make("batch", ("a", "b")).eval()
    x = normal(3, 4, 3, 2)
    expected = {task: run(layer, x, task) for task in "ab"}
    barrier, got = threading.Barrier(2, timeout=3600), {}

    def work(task):
        with tssbn.select(layer, task):
            barrier.wait()
            got[task] = layer(x)
            barrier.wait()

    threads = [threading.Thread(target=work, args=(task,)) for task in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(got[task], expected[task]) for task in "ab")


def test_reset_starts_every_task_afresh():
    layer = make("batch", ("a", "b"))
    run(layer, normal(3, 4, 3, 2) + 1, ("a", "b"))
    layer.reset_running_stats()
    assert layer.state_dict()["num_batches_tracked"].tolist() == [0, 0]
    assert (layer.state_dict()["running_mean"] == 0).all() and (layer.gamma != 0).all()
    layer.reset_parameters()
    assert (layer.gamma == 0).all()
    plain = make("batch", ("a", "b"), norm="plain")
    plain.reset_parameters()
    assert (plain.gamma == 1).all() and (plain.beta == 0).all()


def test_repr_names_the_tasks():
    assert "tasks=['a', 'b']" in repr(make("batch", ("a", "b")))


def test_a_call_without_a_tensor():
    layer = make("batch", ("a", "b"))
    with pytest.raises(ValueError, match="without a tensor to stack"):
        run(layer, [], ("a", "b"))
