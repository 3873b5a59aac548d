"""The conversion contract, line by line."""

import copy
import pickle

import pytest
import torch
from inputs import NORMS
from settings import DEVICE, DTYPE
from torch import nn

import tssbn
from tssbn.methods.ablations import SharedStatisticsNorm, affine, statistics
from tssbn.norm import TaskSpecificNorm

TASKS = ("seg", "depth", "normal")


def conv_net(norm=nn.BatchNorm2d):
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm(4), nn.ReLU(), nn.Conv2d(4, 6, 3), norm(6))


def perturbed(model):
    """Give every norm layer a past: weights, biases and statistics unlike the initial ones."""
    for module in model.modules():
        if tssbn.is_norm(module):
            for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                if tensor.is_floating_point():
                    spread = torch.rand_like(tensor) + 0.5  # also right for variances
                    tensor.data.copy_(spread - 1 if name == "bias" else spread)
    return model.to(DEVICE, DTYPE)


def output(model, x, task="depth"):
    with tssbn.select(model, task):
        return model(x)


def image(*shape):
    return torch.randn(*shape, device=DEVICE, dtype=DTYPE)


# -- what is kept ---------------------------------------------------------------------------------


def test_every_norm_layer_and_nothing_else_is_converted():
    net = conv_net()
    convolution = net[0].weight
    assert tssbn.task_specific(net, TASKS) is net
    assert [isinstance(m, TaskSpecificNorm) for m in net] == [False, True, False, False, True]
    assert net[0].weight is convolution
    assert net[1].gamma.shape == (3, 4) and net[4].gamma.shape == (3, 6)
    assert isinstance(net[1], nn.BatchNorm2d)


def test_the_root_may_be_a_norm():
    layer = nn.LayerNorm(5)
    assert tssbn.task_specific(layer, TASKS) is layer
    assert output(layer, torch.randn(2, 5)).shape == (2, 5)


def test_a_layer_of_two_parents_is_converted_once():
    norm = nn.BatchNorm2d(3)
    net = tssbn.task_specific(nn.Sequential(nn.Sequential(norm), nn.ReLU(), norm), TASKS)
    assert net[0][0] is net[2] is norm
    assert len(list(net.parameters())) == 1
    output(net, torch.randn(2, 3, 4, 4))
    assert norm.state_dict()["num_batches_tracked"].tolist() == [0, 2, 0]  # called twice


@pytest.mark.parametrize("training", [True, False])
def test_mode_dtype_and_device_are_kept(training):
    net = conv_net().to(DEVICE, torch.bfloat16).train(training)
    like = net[0].weight
    tssbn.task_specific(net, TASKS)
    assert all(module.training is training for module in net.modules())
    for tensor in (*net.parameters(), *net.buffers()):
        assert tensor.device == like.device
        assert tensor.dtype == like.dtype or not tensor.is_floating_point()


def test_requires_grad_is_kept():
    net = conv_net()
    net[1].requires_grad_(False)
    tssbn.task_specific(net, TASKS)
    assert not net[1].gamma.requires_grad and net[4].gamma.requires_grad


def test_requires_grad_of_weight_and_bias_are_kept_apart():
    net = perturbed(conv_net())
    net[1].weight.requires_grad_(False)
    layer = tssbn.task_specific(net, TASKS)[1]
    assert not layer.gamma.requires_grad and layer.beta.requires_grad


def test_statistics_and_settings_are_kept():
    net = perturbed(conv_net(lambda c: nn.BatchNorm2d(c, eps=1e-2, momentum=0.3)))
    before = copy.deepcopy(net[1])
    layer = tssbn.task_specific(net, TASKS)[1]
    assert (layer.eps, layer.momentum) == (1e-2, 0.3)
    state = layer.state_dict()
    for name, buffer in before.named_buffers():
        assert torch.equal(state[name], torch.stack([buffer] * 3))


def test_without_affine_part_it_gets_gates():
    batch, group = nn.BatchNorm2d(4, affine=False), nn.GroupNorm(2, 4, affine=False)
    for norm in batch, nn.InstanceNorm2d(4), group:
        layer = tssbn.task_specific(norm, TASKS)
        assert layer.gamma.shape == (3, 4) and layer.beta is None and layer.scale is None


def test_without_affine_part_but_trained_the_output_is_preserved():
    norm = nn.BatchNorm1d(4, affine=False)
    norm(torch.randn(8, 4) + 1)
    x, expected = torch.randn(8, 4), None
    norm.eval()
    expected = norm(x)
    torch.testing.assert_close(output(tssbn.task_specific(norm, TASKS), x), expected)


def test_untracked_statistics_stay_untracked():
    layer = tssbn.task_specific(nn.BatchNorm1d(4, track_running_stats=False), TASKS).eval()
    x = torch.randn(8, 4) + 5
    assert output(layer, x).mean().abs() < 1e-5  # batch statistics, in eval mode too
    assert set(layer.state_dict()) == {"gamma", "task_names"}


def test_frozen_batch_norm_keeps_its_statistics_and_learns_gates():
    frozen = pytest.importorskip("torchvision").ops.FrozenBatchNorm2d
    net = perturbed(nn.Sequential(frozen(4)))
    x = image(2, 4, 3, 3)
    expected = net(x)
    statistics = net[0].running_mean.clone()
    net = tssbn.task_specific(net, TASKS)
    torch.testing.assert_close(output(net, x), expected)
    assert [name for name, _ in net.named_parameters()] == ["0.gamma", "0.beta"]
    output(net.train(), x)
    assert torch.equal(net[0].state_dict()["running_mean"], torch.stack([statistics] * 3))


def test_a_foreign_layer_that_adds_its_bias_works_without_one():
    frozen = pytest.importorskip("torchvision").ops.FrozenBatchNorm2d
    net = tssbn.task_specific(frozen(4), TASKS, affine="paper")
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(output(net, x), 0.5 * x / (1 + 1e-5) ** 0.5)
    assert "beta" not in net.state_dict()


def test_copies_pickles_and_loads():
    net = tssbn.task_specific(conv_net(), TASKS)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 3, 8, 8)
    fresh = tssbn.task_specific(conv_net(), TASKS)
    fresh.load_state_dict(net.state_dict())
    for twin in copy.deepcopy(net), pickle.loads(pickle.dumps(net)), fresh:
        for task in TASKS:
            with tssbn.select(net, task), tssbn.select(twin, task):  # tasks of its own
                assert torch.equal(net(x), twin(x))
        assert twin[1].gamma is not net[1].gamma
        twin.load_state_dict(net.state_dict())  # the hooks came along


def test_a_copied_part_does_not_drag_the_network_along():
    net = tssbn.task_specific(conv_net(), TASKS)
    assert b"Conv2d" in pickle.dumps(net) and b"Conv2d" not in pickle.dumps(net[1])
    torch.testing.assert_close(copy.deepcopy(net[1]).gamma, net[1].gamma)


# -- affine modes ---------------------------------------------------------------------------------


def test_auto_is_paper_for_a_fresh_network_and_preserve_for_another():
    fresh = tssbn.task_specific(conv_net(), TASKS)
    assert all((layer.gamma == 0).all() and layer.beta is None for layer in (fresh[1], fresh[4]))
    old = tssbn.task_specific(perturbed(conv_net()), TASKS)
    assert old[1].beta.shape == (3, 4) and old[1].scale.shape == (4,)


def test_auto_opens_zero_initialised_residual_branches():
    """Weight 0 is how a residual branch starts; kept as a frozen scale it could never open."""
    net = conv_net()
    nn.init.zeros_(net[4].weight)
    assert tssbn.task_specific(net, TASKS)[4].scale is None
    net = perturbed(conv_net())
    nn.init.zeros_(net[4].weight)
    with pytest.raises(ValueError, match=r"layer '4' has an all-zero weight"):
        tssbn.task_specific(net, TASKS, affine="preserve")
    assert not any(isinstance(m, TaskSpecificNorm) for m in net)  # nothing was half done


@pytest.mark.parametrize("affine", ["preserve", "logit"])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, lambda c: nn.GroupNorm(2, c), nn.InstanceNorm2d])
def test_preserving_modes_keep_the_output(affine, norm):
    net = perturbed(conv_net(lambda c: norm(c))).eval()
    x = image(2, 3, 8, 8)
    expected = net(x)
    net = tssbn.task_specific(net, TASKS, affine=affine)
    for task in TASKS:
        torch.testing.assert_close(output(net, x, task), expected)


def test_auto_preserves_a_layer_that_only_gathered_statistics():
    """A frozen unit scale is no sign of a fresh layer once batches were counted."""
    net = conv_net()
    net(torch.randn(4, 3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    expected = net.eval()(x)
    torch.testing.assert_close(output(tssbn.task_specific(net, TASKS), x), expected)


def test_the_checkpoint_of_a_preserving_network_loads_into_a_fresh_one():
    """What the affine mode kept comes with the checkpoint, zero-initialised branches or not."""
    trained = tssbn.task_specific(perturbed(conv_net()).float(), TASKS)
    skeleton = conv_net()
    nn.init.zeros_(skeleton[4].weight)
    skeleton = tssbn.task_specific(skeleton, TASKS)
    skeleton.load_state_dict(trained.state_dict())
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(output(skeleton.eval(), x), output(trained.eval(), x))
    single = tssbn.sigmoid(perturbed(conv_net()).float())
    fresh = tssbn.sigmoid(conv_net())
    fresh.load_state_dict(single.state_dict())
    torch.testing.assert_close(fresh.eval()(x), single.eval()(x))


def test_preserve_takes_scales_of_any_sign_and_freezes_them():
    net = perturbed(conv_net())
    net[1].weight.data[0] *= -1
    weight, bias = net[1].weight.detach().clone(), net[1].bias.detach().clone()
    layer = tssbn.task_specific(net, TASKS, affine="preserve")[1]
    assert torch.equal(layer.scale, 2 * weight) and not layer.scale.requires_grad
    assert (layer.gamma == 0).all() and torch.equal(layer.beta, torch.stack([bias] * 3))


def test_logit_carries_the_scales_in_the_gates():
    net = perturbed(conv_net())
    weight = net[1].weight.detach().clone()
    layer = tssbn.task_specific(net, TASKS, affine="logit")[1]
    assert (layer.scale == layer.scale[0]).all()
    torch.testing.assert_close(torch.sigmoid(layer.gamma[0]), 0.99 * weight / weight.max())
    net = perturbed(conv_net())
    net[1].weight.data[0] = -0.25
    with pytest.raises(ValueError, match=r"layer '1' has -0.25"):
        tssbn.task_specific(net, TASKS, affine="logit")


def test_paper_drops_scale_and_bias():
    layer = tssbn.task_specific(perturbed(conv_net()), TASKS, affine="paper")[1]
    assert (layer.gamma == 0).all() and layer.beta is None and layer.scale is None


@pytest.mark.parametrize("norm", ["plain", "statistics", "affine"])
def test_other_norms_keep_the_output(norm):
    net = perturbed(conv_net()).eval()
    x = image(2, 3, 8, 8)
    expected = net(x)
    net = tssbn.task_specific(net, TASKS, NORMS[norm])
    for task in TASKS:
        torch.testing.assert_close(output(net, x, task), expected)


def test_layers_without_batch_statistics_under_the_ablations():
    def mixed():
        return nn.Sequential(nn.BatchNorm2d(4), nn.GroupNorm(2, 4))

    own = tssbn.task_specific(mixed(), TASKS, statistics)
    assert not isinstance(own[1], TaskSpecificNorm)
    half = tssbn.task_specific(mixed(), TASKS, affine)
    assert isinstance(half[0], SharedStatisticsNorm) and half[1].beta.shape == (3, 4)
    with pytest.raises(ValueError, match="leaves all norm layers of Sequential as they are"):
        tssbn.task_specific(nn.Sequential(nn.GroupNorm(2, 4)), TASKS, statistics)


# -- choice of layers, errors ---------------------------------------------------------------------


def test_where_chooses():
    net = tssbn.task_specific(conv_net(), TASKS, where=lambda name, layer: name == "4")
    assert not isinstance(net[1], TaskSpecificNorm) and isinstance(net[4], TaskSpecificNorm)
    with pytest.raises(ValueError, match=r"none of the norm layers \['1', '4'\]"):
        tssbn.task_specific(conv_net(), TASKS, where=lambda name, layer: False)
    with pytest.raises(ValueError, match="where='4' must be a function"):
        tssbn.task_specific(conv_net(), TASKS, where="4")


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ((), "tasks is empty"),
        ("seg", r"tasks='seg' is one string: pass a sequence of names, \('seg',\)"),
        (("a", "b", "a"), r"names \['a'\] more than once"),
        (("a.b",), "'a.b' is not a non-empty string"),
        ((1, 2), "1 is not a non-empty string"),
        (("",), "'' is not"),
        (("train",), "'train' is a word of torch.nn.ModuleDict"),
    ],
)
def test_bad_task_names(tasks, message):
    with pytest.raises(ValueError, match=message):
        tssbn.task_specific(conv_net(), tasks)


def test_bad_options():
    with pytest.raises(ValueError, match=r"norm='batch' is unknown; use one of \['sigmoid'"):
        tssbn.task_specific(conv_net(), TASKS, norm="batch")
    with pytest.raises(ValueError, match=r"affine='keep' is unknown; use one of \['auto'"):
        tssbn.task_specific(conv_net(), TASKS, affine="keep")
    with pytest.raises(ValueError, match="affine='preserve' is for norm='sigmoid'"):
        tssbn.task_specific(conv_net(), TASKS, norm="plain", affine="preserve")


def test_a_model_without_norm_layers():
    with pytest.raises(ValueError, match="Sequential has no normalisation layer"):
        tssbn.task_specific(nn.Sequential(nn.Linear(2, 2)), TASKS)


def test_a_converted_model():
    net = tssbn.task_specific(conv_net(), TASKS)
    for again in (lambda: tssbn.task_specific(net, TASKS), lambda: tssbn.sigmoid(net)):
        with pytest.raises(ValueError, match=r"already converted: layer '1' is a TaskSigmoidBatch"):
            again()
    with pytest.raises(ValueError, match=r"already converted: layer '1' is a SigmoidBatchNorm2d"):
        tssbn.task_specific(tssbn.sigmoid(conv_net()), TASKS)


def test_a_network_around_the_trunk():
    net = tssbn.MultiTask(conv_net(), {task: nn.Identity() for task in TASKS})
    with pytest.raises(ValueError, match="convert the trunk first, then build the MultiTask"):
        tssbn.task_specific(net, TASKS)


def test_a_graph_module():
    net = copy.deepcopy(tssbn.task_specific(torch.fx.symbolic_trace(conv_net()), TASKS))
    net = tssbn.MultiTask(net, {task: nn.Identity() for task in TASKS})
    nn.init.normal_(dict(net.named_parameters())["trunk.1.gamma"])
    x = torch.rand(2, 3, 8, 8)
    together = net(x)
    for task in TASKS:
        torch.testing.assert_close(net(x, (task,))[task], together[task])
    other = tssbn.task_specific(torch.fx.symbolic_trace(conv_net()), TASKS[::-1])
    with pytest.raises(ValueError, match=r"state_dict is of tasks \['normal', 'depth', 'seg'\]"):
        net.trunk.load_state_dict(other.state_dict())


def test_attributes_that_conversion_would_replace():
    class Scaled(nn.BatchNorm2d):
        scale = 3.0

    net = nn.Sequential(nn.BatchNorm2d(3), Scaled(3))
    with pytest.raises(ValueError, match=r"layer '1', a Scaled, has attributes \['scale'\]"):
        tssbn.task_specific(net, TASKS)
    assert type(net[0]) is nn.BatchNorm2d  # nothing was half done


def test_tied_parameters():
    net = conv_net()
    net.add_module("tied", nn.BatchNorm2d(4))
    net.tied.weight = net[1].weight
    with pytest.raises(ValueError, match="layers '1' and 'tied' share a parameter"):
        tssbn.task_specific(net, TASKS)


def test_a_lazy_layer():
    with pytest.raises(ValueError, match=r"layer '0' is a LazyBatchNorm2d without a shape yet"):
        tssbn.task_specific(nn.Sequential(nn.LazyBatchNorm2d()), TASKS)


def test_a_state_dict_of_other_tasks():
    """Other names, or the same in another order, whose rows would silently be swapped."""
    net = tssbn.task_specific(conv_net(), TASKS)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for tasks in (("seg", "depth", "edges"), ("depth", "seg", "normal"), ("seg", "depth")):
        other = tssbn.task_specific(perturbed(conv_net()).float(), tasks, affine="paper")
        with pytest.raises(ValueError, match=r"state_dict is of tasks.*this network has"):
            net.load_state_dict(other.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with pytest.raises(RuntimeError, match="Missing key"):  # an unconverted network's
        net.load_state_dict(conv_net().state_dict())


def test_a_weight_that_is_no_plain_scale():
    class OnePlusNorm(nn.Module):  # x̂·(1 + w), as some language models have it
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4))

        def forward(self, x):
            return nn.functional.rms_norm(x, (4,)) * (1 + self.weight)

    class OwnNorm(OnePlusNorm):
        def forward(self, x):
            return nn.functional.rms_norm(x, (4,)) * self.weight

    with pytest.raises(ValueError, match="a OnePlusNorm, does not switch off at weight 0"):
        tssbn.task_specific(nn.Sequential(OnePlusNorm()), TASKS)
    net = tssbn.task_specific(nn.Sequential(OwnNorm()), TASKS)
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(output(net, x), 0.5 * nn.functional.rms_norm(x, (4,)))


def test_fused_layers_and_shared_statistics():
    timm = pytest.importorskip("timm")
    fused = nn.Sequential(timm.layers.BatchNormAct2d(4))
    with pytest.raises(ValueError, match="cannot express a BatchNormAct2d"):
        tssbn.task_specific(fused, TASKS, affine)


# -- SyncBatchNorm --------------------------------------------------------------------------------


def test_sync_batch_norm_first_then_convert():
    net = nn.SyncBatchNorm.convert_sync_batchnorm(perturbed(conv_net())).eval()
    x = image(2, 3, 8, 8)
    expected = net(x)
    net = tssbn.task_specific(net, TASKS)
    assert isinstance(net[1], nn.SyncBatchNorm) and isinstance(net[1], TaskSpecificNorm)
    torch.testing.assert_close(output(net, x), expected)


@pytest.mark.parametrize("norm", ["sigmoid", "plain", "affine"])
@pytest.mark.parametrize("affine", [True, False])
def test_sync_batch_norm_after_conversion_is_refused(norm, affine):
    """PyTorch's converter would build an ordinary layer and drop the gates without a word."""
    net = nn.Sequential(nn.BatchNorm2d(4, affine=affine))
    net = tssbn.task_specific(net, TASKS, norm=NORMS[norm])
    with pytest.raises(AttributeError, match=r"has a (weight|bias) only while a task runs"):
        nn.SyncBatchNorm.convert_sync_batchnorm(net)
    with pytest.raises(TypeError, match="cannot assign"):
        nn.SyncBatchNorm.convert_sync_batchnorm(tssbn.sigmoid(nn.BatchNorm2d(4, affine=affine)))
