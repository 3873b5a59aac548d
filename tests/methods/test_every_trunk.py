"""What methods of several trunks, or of stages, promise on every trunk that they take."""

import copy
import pickle
from functools import cache

import pytest
import torch
from asserts import assert_shared_is_what_several_losses_reach
from trunks import NETWORKS

from tssbn import MultiTaskNetwork
from tssbn.cost import _ShapesAlone
from tssbn.methods import cgc, cross_stitch, dselect_k, ltb, mmoe, mtan, ple

OUTPUTS = {"a": 2, "b": 1, "c": 3}
CASES = [(method, kind) for method in (cross_stitch, ple, ltb) for kind in NETWORKS]
CASES += [(method, kind) for method in (mmoe, cgc, dselect_k) for kind in ("celeba", "dilated")]
CASES += [(mtan, kind) for kind in ("segnet", "celeba", "dilated", "classifier")]
every_case = pytest.mark.parametrize(
    ("method", "kind"), CASES, ids=[f"{m.__name__.rsplit('.')[-1]}-{kind}" for m, kind in CASES]
)


def made(method, kind, outputs=OUTPUTS):
    torch.manual_seed(0)
    return method.build(NETWORKS[kind][0], outputs).double()


once = cache(made)  # what a method does to find the stages of a trunk takes its time


def built(method, kind):
    return copy.deepcopy(once(method, kind)), NETWORKS[kind][0].example.double()


@every_case
def test_shared_parameters_are_those_that_more_than_one_loss_reaches(method, kind):
    net, x = built(method, kind)
    assert_shared_is_what_several_losses_reach(net, x)
    alone = made(method, kind, {"a": 2})
    assert alone.shared() == [] and list(alone(x)) == ["a"]


@every_case
@torch.no_grad()
def test_all_tasks_are_one_pass_whatever_the_trainer_asks_for(method, kind):
    net, x = built(method, kind)
    assert isinstance(net, MultiTaskNetwork) and net.tasks_per_pass is None
    net.eval()
    before = net(x)
    net.tasks_per_pass = 1
    assert list(net.passes()) == [("a", "b", "c")]
    after = net(x, ["c", "a"])
    assert list(after) == ["a", "c"] and all(torch.equal(after[t], before[t]) for t in after)


@every_case
@torch.no_grad()
def test_it_runs_on_the_meta_device(method, kind):
    net, x = built(method, kind)
    expected = {task: y.shape for task, y in net(x).items()}
    names = [(name, value.shape) for name, value in net.state_dict().items()]
    with torch.device("meta"):
        net = made(method, kind)
    with _ShapesAlone():
        given = net(x.to("meta"))
    assert {task: y.shape for task, y in given.items()} == expected
    assert all(y.is_meta for y in given.values())
    assert [(name, value.shape) for name, value in net.state_dict().items()] == names


@every_case
@torch.no_grad()
def test_copies_and_pickles_predict_the_same(method, kind):
    net, x = built(method, kind)
    net(x)  # statistics
    net.eval()
    expected = net(x)
    for twin in copy.deepcopy(net), pickle.loads(pickle.dumps(net)):
        assert all(torch.equal(y, expected[task]) for task, y in twin(x).items())
    next(twin.parameters()).zero_()
    assert all(torch.equal(y, expected[task]) for task, y in net(x).items())


@pytest.mark.parametrize("kind", ["unet", "sequential", "own"])
def test_mtan_refuses_trunks_that_it_was_not_designed_for(kind):
    with pytest.raises(TypeError, match="designed for SegNet, CelebANet and timm's ResNet, not"):
        built(mtan, kind)


@pytest.mark.parametrize("kind", ["unet", "sequential", "own"])
def test_other_trunks_have_a_unit_between_any_two_stages(kind):
    net, _ = built(cross_stitch, kind)
    assert len(net.units) == NETWORKS[kind][1] - 1
    expected = 0.9 * torch.eye(3) + 0.1 / 3
    assert all(torch.allclose(unit, expected[:, :, None].double()) for unit in net.units)
    places = {id(unit) for unit in net.units} | {unit.data_ptr() for unit in net.units}
    assert len(places) == 2 * len(net.units)


def test_a_single_stage_has_no_place_for_a_unit():
    network = copy.copy(NETWORKS["sequential"][0])
    object.__setattr__(network, "trunk", lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3)))
    with pytest.raises(ValueError, match="Sequential with a single stage has no place for a unit"):
        cross_stitch.build(network, OUTPUTS)
