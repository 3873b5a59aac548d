"""What is said of a converted network."""

import torch
from torch import nn

import tssbn

TASKS = ("seg", "depth")


def trunk():
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, bias=False)),
        *(nn.BatchNorm2d(6), nn.GroupNorm(2, 6), nn.BatchNorm2d(6)),
    )
    nn.init.constant_(net[1].weight, 2.0)
    nn.init.zeros_(net[4].weight)
    return net


def test_layers_gates_and_parameters():
    where = lambda name, layer: name != "5"  # noqa: E731
    net = tssbn.MultiTask(
        tssbn.task_specific(trunk(), TASKS, where=where),
        {"seg": nn.Conv2d(6, 3, 1), "depth": nn.Conv2d(6, 1, 1)},
        stem="1",
    )
    own = 4 + 4 + 6 + 6  # γ and a kept β of the first layer, γ of the two others
    assert tssbn.describe(net).splitlines() == [
        "tasks               seg, depth; their passes part before 1",
        "norm layers         3 converted, 1 left alone (trunk.5)",
        "  preserve          1 (the output given is preserved: scale kept, frozen; "
        "a bias for each task)",
        "  zero-initialised  1 (gates half open, where the weight was all zero)",
        "  paper             1 (as in the paper: gates half open, no scale or bias kept)",
        "gates               16 for each task",
        f"parameters          {3 * 4 * 9 + 4 + 4 * 6 * 9 + 12} shared, {own} in the trunk for each "
        "task, heads: seg 21, depth 7",
    ]


def test_a_network_of_one_task():
    net = tssbn.sigmoid(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)))
    assert tssbn.describe(net).splitlines() == [
        "norm layers         1 converted, 0 left alone",
        "  paper             1 (as in the paper: gates half open, no scale or bias kept)",
        "gates               4",
        "parameters          16 shared",
    ]


def test_zero_initialised_branches_can_be_opened_in_both():
    """Left alone, the plain network keeps the branch closed and the converted one opens it."""
    plain = trunk()
    assert tssbn.open_zero_initialised(plain) == ["4"]
    assert (plain[4].weight == 1).all() and (plain[1].weight == 2).all()
    layer = tssbn.task_specific(plain, TASKS)[4]
    assert layer.started_from == "paper" and (torch.sigmoid(layer.gamma) == 0.5).all()
    assert tssbn.open_zero_initialised(plain) == []


def test_every_layer_says_how_it_began():
    assert tssbn.task_specific(trunk(), TASKS, affine="paper")[1].started_from == "paper"
    assert tssbn.task_specific(trunk(), TASKS, "plain")[1].started_from == "own"
    logit = nn.Sequential(nn.BatchNorm1d(3))
    nn.init.constant_(logit[0].weight, 0.5)
    assert tssbn.task_specific(logit, TASKS, affine="logit")[0].started_from == "logit"
