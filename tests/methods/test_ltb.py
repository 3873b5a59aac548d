"""LTB draws a tree of the tasks' trunks: which trees make it another method, and how it learns."""

import copy
import math

import pytest
import torch
from asserts import assert_same_network, assert_same_outputs
from torch import nn
from trunks import NETWORKS

pytest.importorskip("lightning_fabric")
pytest.importorskip("torchmetrics")

import tiny

from tssbn.methods import Network, ltb, single
from tssbn.training import checkpoint
from tssbn.training.loop import train
from tssbn.training.progress import NoCallback

OUTPUTS = {"a": 2, "b": 1, "c": 3}
CLOSE = {"rtol": 0, "atol": 1e-10}
every_trunk = pytest.mark.parametrize("kind", NETWORKS)


def built(kind="sequential", **options):
    torch.manual_seed(0)
    return ltb.build(NETWORKS[kind][0], OUTPUTS, **options).double()


def images(kind="sequential"):
    return NETWORKS[kind][0].example.double()


def always(net, parents):
    """Let task t read column parents[t], at every place."""
    with torch.no_grad():
        net.logits.fill_(-1e4)
        for task, parent in enumerate(parents):
            net.logits[:, task, parent] = 1e4


@pytest.mark.parametrize("heads", [False, True])
@every_trunk
def test_own_parents_are_single_task_networks(kind, heads):
    net, x = built(kind, heads=heads), images(kind)
    apart = single.SingleTask(copy.deepcopy(net.networks))
    always(net, [0, 1, 2])
    assert_same_outputs(net(x), apart(x), **CLOSE)
    assert_same_outputs(net.eval()(x), apart.eval()(x), **CLOSE)


@every_trunk
def test_one_column_for_all_and_their_heads_is_hard_sharing(kind):
    net, x = built(kind, heads=True), images(kind)
    trunk, _ = copy.deepcopy(net.networks["b"])
    always(net, [1, 1, 1])
    features = trunk(x)
    expected = {task: head(features) for task, (_, head) in net.networks.items()}
    assert_same_outputs(net(x), expected, **CLOSE)


def test_without_a_choice_of_the_heads_the_last_stage_is_the_tasks_own():
    net, x = built(), images()
    twin = copy.deepcopy(net.networks)
    always(net, [1, 1, 1])
    before = twin["b"][0][:-1](x)
    expected = {task: head(trunk[-1](before)) for task, (trunk, head) in twin.items()}
    assert_same_outputs(net(x), expected, **CLOSE)


def test_a_draw_is_a_tree_whose_slope_is_that_of_the_soft_one():
    net = built()
    parents = net.parents()
    assert parents.shape == (2, 3, 3)
    assert sorted(parents.unique().tolist()) == [0, 1] and (parents.sum(-1) == 1).all()
    (parents * torch.rand(2, 3, 3)).sum().backward()
    assert (net.logits.grad != 0).all()
    torch.testing.assert_close(net.logits.grad.sum(-1), torch.zeros(2, 3).double())


def test_columns_are_drawn_with_the_probabilities_of_the_logits():
    net, n = built(), 2000
    wanted = torch.tensor([0.5, 0.3, 0.2]).double()
    with torch.no_grad():
        net.logits[0] = wanted.log()
        share = sum(net.parents() for _ in range(n)) / n
    for column, mean in enumerate(wanted.tolist()):
        error = 5 * math.sqrt(mean * (1 - mean) / n)
        assert share[0, :, column].tolist() == pytest.approx([mean] * 3, abs=error)
    error = 5 * math.sqrt(2 / 9 / n)
    assert share[1].flatten().tolist() == pytest.approx([1 / 3] * 9, abs=error)


def test_evaluation_takes_the_most_probable_parent_or_draws():
    net, x = built().eval(), images()
    with torch.no_grad():
        net.logits[:, 0, 2] += 0.1
        net.logits[:, 1, 0] += 0.1
        net.logits[:, 2, 0] += 0.1
    assert net.parents().argmax(-1).tolist() == [[2, 0, 0]] * 2
    assert_same_outputs(net(x), net(x), rtol=0, atol=0)
    net.sample = True
    outputs = [net(x)["a"] for _ in range(8)]
    assert any(not torch.equal(y, outputs[0]) for y in outputs)


def test_the_temperature_is_that_of_libmtl():
    epochs = torch.tensor([2, 50, 100, 199])
    by_hand = [200 / 20 / math.sqrt(epoch + 1) for epoch in epochs.tolist()]
    assert ltb.temperature(epochs / 200).tolist() == pytest.approx(by_hand)
    assert [round(value, 2) for value in by_hand] == [5.77, 1.40, 1.00, 0.71]


@pytest.mark.parametrize("training", [True, False])
def test_at_first_all_columns_read_the_sum(training):
    net, x = built().train(training), images()
    net.progress = 0.009
    assert (net.parents() == 1).all()
    twin = copy.deepcopy(net.networks)
    features = [trunk[0](x) for trunk, _ in twin.values()]
    for place in 1, 2:
        features = [trunk[place](sum(features)) for trunk, _ in twin.values()]
    expected = {t: head(y) for (t, (_, head)), y in zip(twin.items(), features, strict=True)}
    outputs = net(x)
    assert_same_outputs(outputs, expected, **CLOSE)
    outputs["a"].sum().backward()
    assert (net.logits.grad == 0).all()
    net.progress = 0.01
    assert (net.parents().sum(-1) == 1).all()


def test_columns_that_nobody_reads_run_and_do_not_learn():
    net = built(heads=True)
    always(net, [1, 1, 1])
    sum(y.square().sum() for y in net(images()).values()).backward()
    for task, (trunk, _) in net.networks.items():
        assert int(trunk[0][1].num_batches_tracked) == 1
        moved = [bool((p.grad != 0).any()) for p in trunk.parameters() if p.ndim > 1]
        assert moved == [task == "b"] * len(moved)


def test_how_far_the_training_is_lies_in_the_state():
    net, other = built(), built()
    assert net.progress == 1  # nobody told it otherwise
    net.progress = 0.25
    other.load_state_dict(net.state_dict())
    assert other.progress == 0.25


def test_a_run_that_was_stopped_goes_on_with_the_same_draws(tmp_path, monkeypatch):
    def stop(entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    run, callback = tiny.run("ltb", settings={"heads": True}), NoCallback()
    monkeypatch.setattr(checkpoint, "PATIENCE", 0)  # one after each epoch
    monkeypatch.setattr(callback, "epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        train(run, tmp_path, accelerator="cpu", callback=callback)
    resumed = train(run, tmp_path, accelerator="cpu", resume=True)
    whole = train(run, accelerator="cpu")
    assert_same_network(resumed.net, whole.net)
    assert resumed.net.progress == 1 and (whole.net.logits != 1).any()


def test_a_single_stage_leaves_the_choice_to_the_heads():
    made = NETWORKS["celeba"][0]
    network = Network(lambda: nn.Sequential(made.trunk()), made.head, made.example)
    with pytest.raises(ValueError, match="single stage has nothing to choose: take heads=True"):
        ltb.build(network, OUTPUTS)
    assert ltb.build(network, OUTPUTS, heads=True).logits.shape == (1, 3, 3)
