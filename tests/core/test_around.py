"""Converted networks among the tools of the PyTorch world: what these read, copy, save and call."""

import copy
import io
import warnings

import pytest
import torch
import torch._dynamo.testing
import torch.distributed as dist
from asserts import assert_same_outputs
from torch import nn
from torch.nn.utils import parametrizations, prune
from versions import one_graph

import tssbn
import tssbn.export
from tssbn.convert import NORMS
from tssbn.methods.ablations import SharedStatisticsNorm, TaskStatisticsNorm, affine, statistics
from tssbn.tasks import find_tasks

TASKS = ("a", "b")


def convolutions():
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        *(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def tokens():
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8))


def network(trunk=convolutions, norm="sigmoid", tasks=TASKS, **options):
    torch.manual_seed(0)
    trunk = tssbn.task_specific(trunk if isinstance(trunk, nn.Module) else trunk(), tasks, norm)
    net = tssbn.MultiTask(trunk, {task: nn.Linear(8, 2) for task in tasks}, **options)
    for name, parameter in net.named_parameters():
        if name.endswith("gamma"):
            nn.init.normal_(parameter)
    return net


def images(count=4):
    return torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(count))


def separate(net, x):
    return {task: net(x, (task,))[task] for task in net.tasks}


# -- attributes outside a pass --------------------------------------------------------------------


@pytest.mark.parametrize("trunk", [convolutions, tokens])
@pytest.mark.parametrize("norm", [*NORMS, affine])
def test_whatever_is_asked_for_is_there_or_is_not(trunk, norm):
    """``hasattr`` answers, and every name of the state leads to the state, (T, C)."""
    net = network(trunk, norm)
    for layer in net.modules():
        for name in "weight", "bias", "running_mean", "num_batches_tracked", "momentum":
            assert hasattr(layer, name) in (True, False)
    layer = net.trunk[1]
    assert not hasattr(layer, "weight") and hasattr(layer, "running_mean") is (trunk is not tokens)
    with pytest.raises(AttributeError, match="weight only while a task runs: read or set gamma"):
        nn.init.ones_(layer.weight)
    for name, value in net.state_dict().items():
        at, _, last = name.rpartition(".")
        assert torch.equal(getattr(net.get_submodule(at), last), value)
    for name, buffer in net.named_buffers():
        assert net.get_buffer(name) is buffer
    assert len(net.state_dict()) == len([*net.parameters()]) + len([*net.buffers()])


def test_statistics_can_be_assigned_as_replicas_do():
    """`torch.nn.DataParallel` copies a network by setting every tensor on a bare copy."""
    net, x = network().eval(), images()
    expected = net(x)
    modules = list(net.modules())
    at = {module: i for i, module in enumerate(modules)}
    copies = [module._replicate_for_data_parallel() for module in modules]
    for twin, module in zip(copies, modules, strict=True):
        for kind in module._parameters, module._buffers:
            for name, value in kind.items():
                if value is not None:
                    setattr(twin, name, value * 1)
                elif kind is module._parameters:
                    twin._parameters[name] = None
        for name, child in module._modules.items():
            setattr(twin, name, copies[at[child]])
    assert_same_outputs(copies[0](x), expected)


def test_distributed_checkpoints_take_the_whole_state():
    from torch.distributed.checkpoint import state_dict as dcp

    for trunk in convolutions, tokens:
        net, fresh = network(trunk), network(trunk)
        nn.init.zeros_(fresh.trunk[1].gamma)
        dcp.set_model_state_dict(fresh, dcp.get_model_state_dict(net))
        assert torch.equal(fresh.trunk[1].gamma, net.trunk[1].gamma)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit.trace")
def test_the_whole_network_is_traced():
    net, x = network().eval(), images()
    traced = torch.jit.trace(net, (x,), strict=False)
    assert_same_outputs(traced(x), net(x))


@pytest.mark.parametrize("stem", ["", "3"])
def test_statistics_are_estimated_anew(stem):
    """`update_bn` sets momentum to None: every task's statistics become the mean over batches."""
    net = network(stem=stem)
    batches = [images(4), 2 * images(6)]
    torch.optim.swa_utils.update_bn(batches, net)
    first = net.trunk[0](torch.cat([batches[0]])).mean((0, 2, 3))
    second = net.trunk[0](torch.cat([batches[1]])).mean((0, 2, 3))
    for row in net.trunk[1].running_mean:
        torch.testing.assert_close(row, (first + second).detach() / 2)
    assert net.trunk[1].num_batches_tracked.tolist() == [2, 2]


def test_averaged_models_average_gates_and_statistics():
    net = network()
    average = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
    before = net.trunk[1].running_mean.clone()
    average.update_parameters(net)
    net(images())
    average.update_parameters(net)
    now = net.trunk[1].running_mean
    torch.testing.assert_close(average.module.trunk[1].running_mean, (before + now) / 2)
    net.load_state_dict(average.module.state_dict())


# -- copies of a checkpoint -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_checkpoint_in_another_format_loads(dtype):
    net, fresh = network(tasks=("seg", "tiefe-ü")), network(tasks=("seg", "tiefe-ü"))
    nn.init.zeros_(fresh.trunk[1].gamma)
    fresh.load_state_dict({key: value.to(dtype) for key, value in net.state_dict().items()})
    assert torch.equal(fresh.trunk[1].gamma, net.trunk[1].gamma.to(dtype).float())
    assert all(v.dtype == fresh.state_dict()[k].dtype for k, v in net.state_dict().items())


def test_the_mean_of_checkpoints_loads():
    states = [network().state_dict() for _ in range(3)]
    states[2]["trunk.1.gamma"] = states[2]["trunk.1.gamma"] + 3
    net = network()
    net.load_state_dict({k: sum(s[k].float() for s in states) / 3 for k in states[0]})
    torch.testing.assert_close(net.trunk[1].gamma.detach(), states[0]["trunk.1.gamma"] + 1)


def test_a_checkpoint_is_assigned():
    net, x = network(), images()
    with torch.device("meta"):
        empty = network()
    empty.load_state_dict(net.state_dict(), assign=True)
    assert_same_outputs(empty.eval()(x), net.eval()(x))


def test_a_foreign_scale_is_refused():
    net = network()
    state = net.state_dict()
    for shape in (3,), (2, 8), ():
        with pytest.raises(
            RuntimeError, match=r"trunk.1.scale has shape .* gate row .* has \(8,\)"
        ):
            net.load_state_dict(state | {"trunk.1.scale": torch.ones(shape)})
        assert net.trunk[1].scale is None


def test_names_of_a_checkpoint_are_compared():
    with pytest.raises(ValueError, match=r"of tasks \['a', 'b'\], this network has \['b', 'a'\]"):
        network(tasks=("b", "a")).load_state_dict(network().state_dict())
    state = network().state_dict()
    names = state.pop("trunk.task_names")
    network().load_state_dict(state)  # made elsewhere
    network().load_state_dict(state | {"trunk.task_names": names.long()})  # as version 0.1 has it


def test_a_network_saved_whole_comes_back():
    net, x = network(stem="3"), images()
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    twin = torch.load(file, weights_only=False)
    assert twin.stem == "3"
    assert_same_outputs(twin(x), net(x))


# -- sharded and parametrised trunks --------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view")
@pytest.mark.parametrize("stem", ["", "3"])
def test_layers_are_sharded_one_by_one(stem, tmp_path):
    """FSDP2 shards γ over its rows between two calls of the layer."""
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    from torch.distributed.device_mesh import init_device_mesh

    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        net, whole, x = network(stem=stem), network(stem=stem), images()
        mesh = init_device_mesh("cpu", (1,))
        for layer in net.trunk:
            if list(layer.parameters()):
                fsdp.fully_shard(layer, mesh=mesh)
        fsdp.fully_shard(net, mesh=mesh)
        for each in net, whole:
            sum(y.square().sum() for y in each(x).values()).backward()
        for one, other in zip(net.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(one.grad.full_tensor(), other.grad)
    finally:
        dist.destroy_process_group()


def test_a_parametrised_trunk_finds_its_stem():
    trunk = convolutions()
    parametrizations.weight_norm(trunk[3])
    net, x = network(trunk), images()
    assert net.share_stem(x) == "3"
    assert_same_outputs(net(x), separate(net, x))
    assert_same_outputs(net.eval()(x), separate(net, x))


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize(
    "compute",
    [
        lambda conv: prune.l1_unstructured(conv, "weight", 0.3),
        lambda conv: nn.utils.weight_norm(conv),
        lambda conv: nn.utils.spectral_norm(conv),
        lambda conv: parametrizations.weight_norm(conv),
    ],
    ids=["pruned", "weight norm", "spectral norm", "parametrised"],
)
def test_computed_weights_are_exported_with_their_value(compute):
    trunk = convolutions()
    compute(trunk[3])
    net, x = network(trunk), images()
    sum(y.sum() for y in net(x).values()).backward()  # between two passes the weight has a graph
    expected = net.eval()(x)
    single = tssbn.export.task(net, "a", example=x)
    torch.testing.assert_close(single(x), expected["a"], rtol=1e-4, atol=1e-5)
    assert set(dict(single.trunk[3].named_parameters())) == {"weight", "bias"}
    assert_same_outputs(net(x), expected)  # and stays as it is


def test_norm_layers_may_stay_for_tools_that_fuse_them():
    net, x = network(), images()
    net(x)
    expected = net.eval()(x)["b"]
    single = tssbn.export.task(net, "b", fold=False)
    assert type(single.trunk[1]) is nn.BatchNorm2d
    torch.testing.assert_close(single(x), expected)
    fuse = pytest.importorskip("torch.ao.quantization").fuse_modules_qat
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        fused = fuse(single.train(), [["trunk.0", "trunk.1", "trunk.2"]])
    assert type(fused.trunk[0]).__name__ == "ConvBnReLU2d"


def test_attributes_that_only_look_like_hooks():
    class Taps(nn.Sequential):
        feature_hooks = None

        def __init__(self, *layers):
            super().__init__(*layers)
            self.own_hooks = None

    net, x = network(Taps(*convolutions())).eval(), images()
    torch.testing.assert_close(tssbn.export.task(net, "a")(x), net(x)["a"], rtol=1e-4, atol=1e-5)


# -- heads and trunks that write in place ---------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_heads_may_begin_in_place(count):
    trunk = tssbn.task_specific(tokens(), TASKS)
    heads = {task: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(8, 2)) for task in TASKS}
    net, x = tssbn.MultiTask(trunk, heads), torch.rand(count, 4)
    assert_same_outputs(net(x), separate(net, x))
    sum(y.sum() for y in net(x).values()).backward()


@pytest.mark.parametrize("stem", ["", "inner.0"])
@pytest.mark.parametrize("count", [1, 2])
def test_trunks_may_begin_in_place(count, stem):
    class Shifts(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tokens()

        def forward(self, x):
            return self.inner(x.sub_(0.5) if not stem else x - 0.5)

    net, x = network(Shifts(), stem=stem), torch.rand(count, 4)
    before = x.clone()
    net(x)
    assert torch.equal(x, before)


class Shift(nn.Module):
    def forward(self, x):
        x += 1
        return x


def test_a_head_that_spoils_the_others_features_is_refused():
    heads = {"a": nn.Sequential(Shift(), nn.Linear(8, 2)), "b": nn.Linear(8, 2)}
    net, x = tssbn.MultiTask(convolutions(), heads).eval(), images()
    for mode in torch.no_grad(), torch.enable_grad():
        with mode, pytest.raises(RuntimeError, match="the head of 'a' changes the features in pl"):
            net(x)
    assert list(net(x, ("a",))) == ["a"]  # alone it spoils nothing
    last = tssbn.MultiTask(net.trunk, {"b": heads["b"], "a": heads["a"]})
    torch.testing.assert_close(last(x)["b"], last(x, ("b",))["b"])
    with torch.inference_mode():
        assert list(net(x)) == ["a", "b"]  # PyTorch does not count there


# -- other calls ----------------------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, batch):
        return self.encoder(batch["x"], src_key_padding_mask=batch["pad"])[:, 0]


def test_a_padding_mask_in_evaluation():
    pad = torch.zeros(3, 5, dtype=torch.bool)
    pad[1, 3:] = True
    batch = {"x": torch.rand(3, 5, 8), "pad": pad}
    net = network(Encoder).eval()
    expected = net(batch)
    with torch.no_grad():
        assert_same_outputs(net(batch), expected)
        assert_same_outputs(separate(net, batch), expected)


class GatedNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x, residual=None, *, gate=None, prenorm=False):
        x = x if residual is None else x + residual
        x = x if gate is None else x * torch.sigmoid(gate)
        y = self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        return y + 1 if prenorm else y


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm = nn.Linear(4, 8), GatedNorm(8)

    def forward(self, x):
        x = self.inner(x)
        return self.norm(x, x.cos(), gate=x.sin(), prenorm=True)


@pytest.mark.parametrize("stem", ["", "norm"])
def test_norm_layers_called_with_more_than_one_tensor(stem):
    net, x = network(Gated, stem=stem).eval(), torch.rand(3, 4)
    assert_same_outputs(net(x), separate(net, x))


class Bag:
    """A batch of some library: no tensor, and no tree of them."""

    def __init__(self, x):
        self.x = x


class Unpacks(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = tokens()

    def forward(self, batch):
        return self.inner(batch.x if isinstance(batch, Bag) else batch["bag"].x)


def test_one_task_takes_any_input_and_several_refuse_what_they_cannot_stack():
    net, bag = network(Unpacks), Bag(torch.rand(3, 4))
    for batch in bag, {"bag": bag, "x": torch.rand(3, 4)}:
        with pytest.raises(ValueError, match=r"a Bag in the input cannot be stacked.*tasks_per"):
            net(batch)
        assert net(batch, ("a",))["a"].shape == (3, 2)
    net.tasks_per_pass = 1
    assert list(net(bag)) == ["a", "b"]


def test_an_empty_batch_moves_no_statistics():
    for stem in "", "3":
        net = network(lambda: nn.Sequential(*convolutions()[:6]), stem=stem)
        net.heads = nn.ModuleDict({task: nn.Identity() for task in TASKS})
        before = {name: value.clone() for name, value in net.named_buffers()}
        y = net.train()(torch.rand(0, 3, 12, 12))
        assert y["a"].shape == (0, 8, 8, 8)
        for name, value in net.named_buffers():
            if "running" in name:
                assert torch.equal(value, before[name]), name


@one_graph
def test_more_groups_than_the_recompile_limit():
    tasks = [f"t{i}" for i in range(10)]
    net, x = network(tokens, tasks=tasks, tasks_per_pass=1), torch.rand(4, 4)
    expected = net(x)
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()
    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else None
    with torch._dynamo.config.patch({limit or "cache_size_limit": len(tasks)}):
        compiled = torch.compile(net, backend=counter)
        for names in net.passes():
            assert_same_outputs(compiled(x, names), {task: expected[task] for task in names})
    assert counter.frame_count == len(tasks)
    torch._dynamo.reset()


# -- layers that are left alone -------------------------------------------------------------------


class ABN(nn.Module):
    """Normalises, with no "Norm" in its name."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))


class OwnLayerNorm(nn.Module):
    """Calls its weight otherwise."""

    def __init__(self, width):
        super().__init__()
        self.g = nn.Parameter(torch.ones(width))


def test_what_looks_like_a_norm_layer_and_is_left_alone_is_named():
    trunk = nn.Sequential(nn.BatchNorm2d(3), ABN(3), OwnLayerNorm(3), nn.Linear(3, 3))
    with pytest.warns(UserWarning, match="'1', a ABN; '2', a OwnLayerNorm"):
        tssbn.task_specific(trunk, TASKS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tssbn.task_specific(convolutions(), TASKS)
        trunk = nn.Sequential(nn.BatchNorm2d(3), ABN(3))
        tssbn.task_specific(trunk, TASKS, where=lambda name, layer: True)  # the user chose


# -- ablation layers ------------------------------------------------------------------------------


def test_ablation_layers_are_told_apart():
    assert isinstance(network(norm=statistics).trunk[1], TaskStatisticsNorm)
    assert isinstance(network(norm=affine).trunk[1], SharedStatisticsNorm)
    with pytest.raises(ValueError, match="norm=3 is neither one of"):
        network(norm=3)


def test_copies_keep_to_themselves():
    net = network()
    twin = copy.deepcopy(net)
    assert find_tasks(net) != find_tasks(twin)
    twin.add_task("c", nn.Linear(8, 2))
    assert net.tasks == TASKS and twin.tasks == (*TASKS, "c")
    assert bytes(twin.state_dict()["trunk.task_names"].tolist()) == b"a\nb\nc"
