"""Unusual trunks, layers and calls: the right numbers, or a refusal that says what to do."""

import copy
import pickle

import pytest
import torch
import torch._dynamo.testing
from asserts import assert_stacked_is_separate
from inputs import images
from torch import nn
from torch.nn.utils import parametrize, prune
from versions import OLD

import tssbn
from tssbn.norm import TaskSpecificNorm

TASKS = ("a", "b")


def network(trunk, affine="auto", **options):
    torch.manual_seed(0)
    trunk = tssbn.task_specific(trunk.double(), TASKS, affine=affine)
    for name, parameter in trunk.named_parameters():
        if name.endswith("gamma"):
            nn.init.normal_(parameter)
    return tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS}, **options)


# -- norm layers of other people ------------------------------------------------------------------


class Absolute(nn.Module):
    def forward(self, weight):
        return weight.abs()


def test_norm_layers_that_compute_their_weight_are_refused():
    parametrised, pruned = nn.LayerNorm(3), nn.GroupNorm(1, 3)
    parametrize.register_parametrization(parametrised, "weight", Absolute())
    prune.l1_unstructured(pruned, "weight", 1)
    for layer in parametrised, pruned:
        with pytest.raises(ValueError, match=r"layer '0', a .*, computes its weight \(pruned, or"):
            tssbn.task_specific(nn.Sequential(layer), TASKS)
    prune.remove(pruned, "weight")
    assert tssbn.task_specific(nn.Sequential(pruned), TASKS)[0].gamma.shape == (2, 3)


class AssigningNorm(nn.Module):
    """Assigns its statistics, and counts in an attribute, instead of changing them in place."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("moving", torch.zeros(width))
        self.steps = 0

    def forward(self, x):
        if self.training:
            self.running_mean = 0.5 * self.running_mean + 0.5 * x.detach().mean(0)
            self.moving = self.moving + 1
            self.steps += 1
        return (x - self.running_mean) * self.weight


@pytest.mark.parametrize("tasks_per_pass", [None, 1])
def test_what_a_host_assigns_is_kept(tasks_per_pass):
    net = network(AssigningNorm(3), tasks_per_pass=tasks_per_pass)
    x = torch.full((4, 3), 8.0, dtype=torch.float64)
    net(x)
    net(x, ("b",))
    assert net.trunk.running_mean.tolist() == [[4.0] * 3, [6.0] * 3]
    assert net.trunk.moving.tolist() == [3.0] * 3 and net.trunk.steps == 3  # the tasks share these
    assert set(dict(net.trunk.named_buffers())) == {"running_mean", "moving", "task_names"}


def test_conversion_runs_no_layer_of_the_model():
    class StartsNorm(AssigningNorm):
        def forward(self, x):
            self.running_mean.lerp_(x.detach().mean(0), 0.5)
            return (x - self.running_mean) * self.weight

    layer = tssbn.task_specific(StartsNorm(3), TASKS)
    assert (layer.running_mean == 0).all() and layer.steps == 0


def test_norm_layers_that_hold_norm_layers():
    norms = pytest.importorskip("timm.layers")
    assert_stacked_is_separate(network(norms.SplitBatchNorm2d(3)), images(4, 9))


def test_norm_layers_that_need_more_than_an_input():
    class Conditional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x, condition):
            return x * self.weight * condition

    class ConditionalNorm(Conditional):
        pass

    with pytest.raises(ValueError, match="a ConditionalNorm, does not switch off at weight 0"):
        tssbn.task_specific(nn.Sequential(ConditionalNorm()), TASKS)
    with pytest.raises(ValueError, match="is neither one of"):
        tssbn.task_specific(nn.Sequential(nn.LayerNorm(3)), TASKS, norm=nn.LayerNorm)


def test_a_trunk_may_read_the_weight_of_a_norm_layer():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(3)

        def forward(self, x):
            return self.norm(x.to(self.norm.weight.dtype))

    net, x = network(Reads()), torch.randn(4, 3)
    assert net(x)["a"].dtype is torch.float64
    with tssbn.select(net, "b"):
        torch.testing.assert_close(net.trunk.norm.weight, net.trunk.norm.gamma[1].sigmoid())
        assert net.trunk.norm.bias is None
    assert not hasattr(net.trunk.norm, "weight")


class Other:
    """Something else that a class inherits from."""


class Mine(tssbn.TaskSigmoidBatchNorm2d, Other):
    pass


class MineFirst(Other, tssbn.TaskSigmoidBatchNorm2d):
    pass


@pytest.mark.parametrize("kind", [Mine, MineFirst])
def test_subclasses_of_the_papers_layer(kind):
    tasks = tssbn.Tasks(TASKS)
    layer = kind(3, tasks, momentum=None).double()
    nn.init.normal_(layer.gamma)
    assert kind.host_type is nn.BatchNorm2d
    net = tssbn.MultiTask(nn.Sequential(layer), {task: nn.Identity() for task in TASKS})
    assert_stacked_is_separate(net, images(4, 9))
    assert type(pickle.loads(pickle.dumps(layer))) is type(copy.deepcopy(layer)) is kind
    from tssbn import export

    single = export.task(net, "a", fold=False)
    assert type(single.trunk[0]) is nn.BatchNorm2d
    torch.testing.assert_close(single(images(4, 9)[:2] * 0), net.eval()(images(4, 9)[:2] * 0)["a"])


def test_statistics_that_cannot_be_updated_in_place_are_an_error():
    net = network(nn.BatchNorm1d(3))
    net.trunk.running_mean = torch.zeros(3, 2, dtype=torch.float64).t()
    with pytest.raises(RuntimeError, match="view"):
        net(torch.randn(4, 3, dtype=torch.float64))


# -- trunks ---------------------------------------------------------------------------------------


def test_sequence_first_parts_are_refused_wherever_they_were_converted():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.cnn = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
            self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=False)
            for part in self.cnn, self.encoder:
                tssbn.task_specific(part, TASKS)

        def forward(self, x):
            return self.encoder(self.cnn(x).transpose(0, 1)).transpose(0, 1)

    net = tssbn.MultiTask(Both(), {task: nn.Identity() for task in TASKS})
    with pytest.raises(ValueError, match=r"'encoder.* has batch_first=False.*tasks_per_pass=1"):
        net(torch.rand(4, 8, 8))


@pytest.mark.parametrize("tasks_per_pass", [None, 1])
@pytest.mark.parametrize("stem", ["", "norm"])
def test_a_trunk_that_writes_in_place_spoils_no_other_pass(tasks_per_pass, stem):
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x):
            return self.norm(x.mul_(2).sub_(0.5))

    net, x = network(InPlace(), tasks_per_pass=tasks_per_pass, stem=stem), images(4, 9)
    before = x.clone()
    y = net.eval()(x)
    assert torch.equal(x, before)
    for t, task in enumerate(TASKS):
        gate = net.trunk.norm.gamma[t].sigmoid()[:, None, None]
        torch.testing.assert_close(y[task], gate * (2 * x - 0.5) / (1 + 1e-5) ** 0.5)
    net.check(x)
    assert torch.equal(x, before)


class Skip(nn.Module):
    """A skip around the first module behind the stem, which keeps the rows of the stem."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x, mask=None):
        h = self.bn(self.conv(x)).relu()
        y = self.bn2(self.conv2(h))
        return y + h if mask is None else y


def test_a_stem_with_a_way_around_it_is_never_silent():
    net = network(Skip())
    assert tssbn.find_stem(net.trunk) == "bn"  # with the mask that is the default
    net.stem = "conv2"
    assert_stacked_is_separate(net, images(1, 9))  # one row would broadcast
    with pytest.raises(RuntimeError):
        net(images(4, 9))
    with pytest.raises(ValueError, match="its tasks cannot part at stem='conv2'"):
        net.check(images(4, 9))


@pytest.mark.parametrize("after", [nn.ReLU6(), nn.Hardtanh(-8, 8), nn.GELU(), nn.Sigmoid()])
def test_check_refuses_stems_behind_what_does_not_commute(after):
    trunk = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), after, nn.Conv2d(4, 4, 1))
    net = network(trunk, stem="3")
    with pytest.raises(ValueError, match="its tasks cannot part at stem='3'"):
        net.check(images(4, 9))
    net.stem = "1"
    net.check(images(4, 9))


def test_check_enlarges_only_what_runs_before_the_tasks_part():
    """Later layers that bend large values would blow rounding up."""
    sizes = []

    class Watch(nn.Module):
        def forward(self, x):
            sizes.append(x.abs().max().item())
            return x

    first = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()
    net = network(nn.Sequential(*first, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), Watch()), stem="3")
    net.check(images(4, 9))
    assert max(sizes) < 18  # the root of 4 x 9 x 9 values bounds a normalised one


def test_check_sees_mixtures_in_half_precision():
    class Mixes(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(3)

        def forward(self, x):
            y = self.norm(x)
            return y + 0.1 * y.mean(0, keepdim=True)

    net = network(Mixes()).to(torch.bfloat16)
    with pytest.raises(ValueError, match="mixes rows of a batch"):
        net.check(torch.randn(4, 3, dtype=torch.bfloat16))


def test_the_search_for_a_stem_leaves_the_trunk_alone():
    class Keeps(nn.Sequential):
        def forward(self, x):
            self.last = super().forward(x)
            return self.last

    net = network(Keeps(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1)))
    assert net.share_stem(images(4, 9)) == "3"
    assert not isinstance(getattr(net.trunk, "last", None), torch.fx.Proxy)
    net.trunk[2].register_forward_hook(lambda module, args, y: y + 1)
    assert tssbn.find_stem(net.trunk) == "2"  # with its hook the ReLU does not commute


def test_a_failing_check_keeps_the_declared_stem():
    net = network(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), stem="1")
    with pytest.raises(ValueError, match="example has one image"):
        net.share_stem(images(1, 9))
    assert net.stem == "1"


def test_two_networks_on_one_trunk_have_stems_of_their_own():
    trunk = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    one = network(trunk, stem="3")
    other = tssbn.MultiTask(one.trunk, one.heads, stem="1")
    plain = tssbn.MultiTask(one.trunk, one.heads)
    rows = []
    hook = trunk[2].register_forward_hook(lambda module, args, y: rows.append(len(y)))
    for net in one, other, plain:
        net(images(4, 9))
    hook.remove()
    assert rows == [4, 8, 8]
    assert_stacked_is_separate(one, images(4, 9))


def test_parts_that_are_recomputed_around_a_stem():
    class Block(nn.Sequential):
        pass

    def make():
        return nn.Sequential(
            *(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)),
            Block(nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)),
        )

    net = network(make(), stem="2.2")
    twin = copy.deepcopy(net)
    tssbn.recompute(twin.trunk, ["2"])
    x = images(4, 9)
    for each in net, twin:
        sum(y.square().sum() for y in each(x).values()).backward()
    for one, other in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    for one, other in zip(net.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(one, other)


# -- compilers ------------------------------------------------------------------------------------


compiles_any_size = pytest.mark.skipif(
    OLD,
    reason="older Dynamo takes numbers in objects for constants, and copies no __dict__",
)


@compiles_any_size
def test_batches_of_any_size_share_a_graph():
    torch._dynamo.reset()
    net = network(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()))
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    for count in range(2, 9):
        x = images(count, 9)
        torch.testing.assert_close(compiled(x)["b"], copy.deepcopy(net)(x)["b"])
    assert counter.frame_count <= 2  # the first size, and then any
    torch._dynamo.reset()


@compiles_any_size
@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.GroupNorm(2, 4)])
def test_the_whole_network_is_exported_for_any_batch(norm):
    net = network(nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.ReLU())).eval()
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(net, (images(4, 9),), dynamic_shapes=({0: batch},))
    x = images(7, 9)
    torch.testing.assert_close(program.module()(x)["b"], net(x)["b"])


# -- state ----------------------------------------------------------------------------------------


def test_a_network_made_without_memory_is_filled_and_moved():
    state = network(nn.BatchNorm1d(3)).state_dict()
    with torch.device("meta"):
        empty = network(nn.BatchNorm1d(3))
    empty.load_state_dict(state, assign=True)
    assert empty.to("cpu").trunk.task_names.tolist() == list(b"a\nb")


def test_a_bias_from_a_checkpoint_is_frozen_with_its_gates():
    pretrained = nn.BatchNorm1d(3)
    nn.init.ones_(pretrained.bias)
    state = network(pretrained).state_dict()
    fresh = network(nn.BatchNorm1d(3).requires_grad_(False))
    fresh.load_state_dict(state)
    assert not fresh.trunk.beta.requires_grad and fresh.trunk.scale.shape == (3,)


def test_vectors_of_tasks_do_not_decay_wherever_they_are():
    norm = nn.BatchNorm1d(3)
    nn.init.ones_(norm.bias)
    trunk = tssbn.task_specific(nn.Sequential(nn.Linear(2, 3), norm), TASKS)
    groups = tssbn.param_groups(trunk, lr=0.1, weight_decay=0.1, decay_vectors=False)
    names = {id(p): name for name, p in trunk.named_parameters()}
    decayed = [names[id(p)] for g in groups if g["weight_decay"] for p in g["params"]]
    assert decayed == ["0.weight"]


def test_descriptions_of_odd_networks():
    tasks = tssbn.Tasks(TASKS)
    shared = nn.Linear(3, 3)
    trunk = nn.Sequential(tssbn.TaskSigmoidBatchNorm1d(3, tasks), shared)
    net = tssbn.MultiTask(trunk, {task: shared for task in TASKS})
    assert "12 shared, 3 in the trunk for each task" in tssbn.describe(net)
    vit = nn.Sequential(nn.LayerNorm(3))
    vit.heads = nn.Sequential(nn.Linear(3, 3))
    assert "1 converted" in tssbn.describe(tssbn.task_specific(vit, TASKS))
    assert isinstance(vit[0], TaskSpecificNorm)


def test_a_weight_that_is_computed_cannot_be_set():
    net = network(nn.Sequential(nn.BatchNorm1d(3), nn.LayerNorm(3)))
    for layer in net.trunk:
        for value in nn.Parameter(torch.ones(3)), torch.ones(3):
            with pytest.raises(AttributeError, match="computes its weight from γ and β: set gamma"):
                layer.weight = value
    assert "trunk.0.weight" not in net.state_dict()


def test_what_is_no_sequence_of_names():
    net, x = network(nn.BatchNorm1d(3)), torch.randn(4, 3, dtype=torch.float64)
    with pytest.raises(
        ValueError,
        match=r"sequence of names, got an object of type Tensor.*wrap a trunk of several",
    ):
        net(x, x)
    with pytest.raises(ValueError, match="must be a sequence of names, got an object of type int"):
        tssbn.task_specific(nn.BatchNorm1d(3), 2)
