"""One task's network is plain PyTorch and computes that task."""

import copy
import io
import pickle

import pytest
import torch
from asserts import ABSOLUTE
from inputs import TASKS, normal
from plain import TRUNKS, hooks, modules_of_ours, network, norms, stir
from torch import nn

import tssbn
from tssbn import export
from tssbn.networks.celeba import CelebANet
from tssbn.networks.segnet import SegNetHead
from tssbn.tasks import Tasks


def check(net, x):
    """Each task's network equals the task; returns the last one."""
    with torch.no_grad():
        expected = net(x)
        for task in TASKS:
            single = export.task(net, task)
            assert expected[task].std() > 1e-3 and (
                task == "seg" or not torch.equal(expected[task], expected["seg"])
            )
            torch.testing.assert_close(single(x), expected[task], **ABSOLUTE)
    return single


@pytest.mark.parametrize("name", TRUNKS)
def test_one_task_is_plain_and_equal(name):
    net, x = network(name)
    single = check(net, x)
    assert [n for n, _ in single.named_children()] == ["trunk", "head"]
    assert type(single.trunk) is type(net.trunk)
    left = {type(m) for m in norms(single)}
    if name in ("vit", "swin"):
        assert left == {m.__class__.__bases__[1] for m in norms(net.trunk)}
        gated = [m for m in norms(single) if m.weight is not None]
        assert len(gated) < 0.6 * len(norms(net.trunk))
    elif name == "preactivated":
        assert len(norms(single)) < len(norms(net.trunk)) / 2
    else:
        assert not left


@pytest.mark.parametrize("norm", ["plain", "statistics", "affine", None])
@pytest.mark.parametrize("name", ["segnet", "vit"])
def test_every_mode(name, norm):
    if (name, norm) == ("vit", "statistics"):
        pytest.skip("LayerNorm has no statistics to convert")
    net, x = network(name, norm)
    single = check(net, x)
    if name == "segnet":
        assert not norms(single)


@pytest.mark.parametrize("affine", ["paper", "preserve", "logit"])
def test_every_affine_mode(affine):
    check(*network("celeba", affine=affine, stirred=True))


def test_other_forms_of_the_gate():
    from tssbn.methods import Network, find_method

    x = normal(2, 3, 16, 16)
    given = Network(lambda: CelebANet(2).double(), lambda n: nn.Linear(16, n).double(), x)
    for name in "tanh", "softplus", "clamp", "tssbn-bias":
        net = stir(find_method(name).build(given, dict.fromkeys(TASKS, 2))).eval()
        check(net, x)


@pytest.mark.parametrize("name", ["bottlenecks", "vit", "mobile"])
def test_nothing_of_the_package_is_left(name):
    net, x = network(name)
    single = export.task(net, "depth")
    assert not modules_of_ours(single) and not hooks(single)
    assert not [m for m in single.modules() if any(isinstance(v, Tasks)
                for v in vars(m).values())]  # fmt: skip
    assert b"tssbn" not in pickle.dumps(single)
    assert not [key for key in single.state_dict() if "task_names" in key or "gamma" in key]
    buffer = io.BytesIO()
    torch.save(single, buffer)
    buffer.seek(0)
    again = torch.load(buffer, weights_only=False)
    assert torch.equal(again(x), single(x))


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # by torch 2.9's reader
@pytest.mark.parametrize("name", ["segnet", "residual", "vit"])
def test_torch_export_there_and_back(name):
    net, x = network(name)
    single = export.task(net, "depth")
    shapes = ({0: torch.export.Dim("batch")},)
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(single, (x,), dynamic_shapes=shapes), buffer)
    buffer.seek(0)
    again = torch.export.load(buffer).module()
    more = torch.cat([x, x.flip(0), x])
    torch.testing.assert_close(again(more), net(more)["depth"], **ABSOLUTE)


def test_the_network_is_left_as_it_is():
    net, x = network("segnet")
    net.train()
    state = copy.deepcopy(net.state_dict())
    single = export.task(net, "depth", example=x)
    with torch.no_grad():
        for parameter in single.parameters():
            parameter.zero_()
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert all(m.training for m in net.modules()) and len(hooks(net.trunk)) > 0


def test_after_sharing_the_stem_and_adding_a_task():
    net, x = network("segnet")
    assert net.share_stem(x)
    net.add_task("edges", stir(SegNetHead(1, width=4)), like="depth")
    check(net, x)
    torch.testing.assert_close(export.task(net, "edges")(x), net(x)["edges"], **ABSOLUTE)


def test_norm_layers_of_heads_fold_as_well_also_across_the_border():
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3))
    heads = {t: tssbn.sigmoid(nn.Sequential(nn.BatchNorm2d(5), nn.ReLU())) for t in TASKS}
    net = stir(tssbn.MultiTask(tssbn.task_specific(trunk, TASKS), heads)).eval()
    assert not norms(check(net, normal(2, 3, 8, 8)))


def test_trees_of_features():
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)) for _ in "ab")

        def forward(self, x):
            return {"fine": self.a(x), "coarse": [self.b(x[..., ::2, ::2])]}

    class Head(nn.Module):
        def forward(self, features):
            return features["fine"].mean((2, 3)) + features["coarse"][0].mean((2, 3))

    trunk = tssbn.task_specific(Pyramid(), TASKS)
    net = stir(tssbn.MultiTask(trunk, {task: Head() for task in TASKS})).eval()
    assert not norms(check(net, normal(2, 3, 9, 9)))


def test_a_layer_in_two_places():
    norm = nn.BatchNorm2d(3)
    trunk = tssbn.task_specific(nn.Sequential(norm, nn.ReLU(), norm), TASKS)
    net = stir(tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS})).eval()
    single = check(net, normal(2, 3, 4, 4))
    assert single.trunk[0] is single.trunk[2] and type(single.trunk[0]) is nn.BatchNorm2d


class Misleads(nn.Module):
    """Goes another way when it is traced."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y if isinstance(x, torch.Tensor) else self.norm(y)


def test_the_example_tells_when_tracing_was_led_astray():
    trunk = tssbn.task_specific(Misleads(), TASKS)
    net = stir(tssbn.MultiTask(trunk, {task: nn.Identity() for task in TASKS}))
    with pytest.raises(ValueError, match=r"'seg' is off by .* torch.fx saw another path"):
        export.task(net, "seg", example=normal(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((nn.Linear(2, 2), "depth"), TypeError, "must be a tssbn.MultiTask, got Linear"),
        ((None, "edges"), ValueError, "unknown tasks"),
        ((None, "depth", 1.0), ValueError, r"threshold=1.0 must be a number in \[0, 1\)"),
        ((None, "depth", -0.1), ValueError, r"threshold=-0.1 must be a number in \[0, 1\)"),
        ((None, "depth", "0.3"), ValueError, "threshold='0.3' must be a number"),
        ((None, "depth", torch.ones(2)), ValueError, "threshold='Tensor' must be a number"),
        ((None, "depth", 0, torch.rand(2, 1, 32, 32)), ValueError, r"takes, got shape \(2, 1, 32"),
        ((None, "depth", 0.1, (2, 3, 32, 32)), ValueError, "takes, got <class 'tuple'>"),
        ((None, "depth", 0.5), ValueError, "needs an example input"),
    ],
)
def test_bad_arguments(arguments, error, message):
    net, *rest = arguments
    with pytest.raises(error, match=message):
        export.task(network("celeba")[0] if net is None else net, *rest)
