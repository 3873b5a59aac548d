"""Balancings as parameters of tests, and tasks whose gradients are given."""

from importlib.util import find_spec

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from tssbn.training.balancing import find_balancing

FABRIC = Fabric(accelerator="cpu", devices=1)
TORCHJD = {"pcgrad", "gradvac", "imtl-g", "imtl", "nash-mtl", "fairgrad", "aligned-mtl", "upgrad"}
#: One of each class; of each class of rows that learns or remembers, too.
KINDS = ("sum", "uw", "famo", "gradnorm", "cosreg", "pcgrad", "graddrop", "imtl", "db-mtl")
STATEFUL = ("rlw", "dwa", "imtl-l", "famo", "stch", "gradnorm", "graddrop", "gradvac", "imtl")
STATEFUL += ("db-mtl",)


def needing(names):
    """The names as parameters, skipped where their package is not installed."""
    missing = find_spec("torchjd") is None
    return [
        pytest.param(
            name, marks=pytest.mark.skipif(missing and name in TORCHJD, reason="no torchjd")
        )
        for name in names
    ]


class Plane(nn.Module):
    """Tasks that share a vector, and have each a number of their own; in float64."""

    def __init__(self, tasks, size=2):
        super().__init__()
        self.tasks, self.tasks_per_pass = tuple(tasks), None
        self.w = nn.Parameter(torch.zeros(size, dtype=torch.float64))
        self.own = nn.ParameterDict({t: nn.Parameter(torch.zeros(()).double()) for t in tasks})

    def passes(self):
        yield self.tasks

    def shared(self):
        return [self.w]


def make(name, tasks, size, **options):
    """A balancing of a plane, which it gets the attribute `net` of."""
    net = Plane([str(t) for t in range(tasks)], size)
    balancing = find_balancing(name)(net, **options)
    object.__setattr__(balancing, "net", net)
    return balancing


def step(balancing, rows, losses=None, own=3.0):
    """The gradient of the shared vector where the tasks have these rows.

    Args:
        losses: values of the losses, 1 each by default.
        own: each task's gradient of its own number.
    """
    net, losses = balancing.net, losses or [1.0] * len(rows)
    for p in net.parameters():
        p.grad = None
    values = {
        task: value + row @ net.w + own * net.own[task]
        for task, value, row in zip(net.tasks, losses, rows, strict=True)
    }
    for tasks in balancing.passes(net):
        balancing.backward(net, {task: values[task] for task in tasks}, FABRIC)
    balancing.finish(net, FABRIC)
    return net.w.grad.clone()


def combine(name, rows, **options):
    """The first step of a new balancing."""
    return step(make(name, *rows.shape, **options), rows)
