"""Census-Income: three questions about a person, the benchmark of MMoE (KDD 2018), in seconds."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from tssbn.benchmarks import Benchmark, Recipe
from tssbn.benchmarks.tasks import Task, tasks_for
from tssbn.data.real.census import INPUTS, SHIPPED, Census
from tssbn.data.target import Target
from tssbn.methods import Network
from tssbn.metrics.auc import AUC


def block(inputs: int, width: int) -> nn.Sequential:
    """A linear layer, BatchNorm and ReLU."""
    return nn.Sequential(nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU())


def trunk(width: int) -> nn.Sequential:
    """Three blocks, each of half the width of the one before."""
    widths = [len(INPUTS), width, width // 2, width // 4]
    return nn.Sequential(*map(block, widths[:-1], widths[1:]))


def tasks(targets: Mapping[str, Target]) -> dict[str, Task]:
    """Binary cross-entropy, judged by the AUC."""
    return {name: replace(task, metric=AUC) for name, task in tasks_for(targets).items()}


def benchmark(width: int = 256) -> Benchmark:
    """Income, marriage and college of the people that the package brings along, or of all.

    Without a folder: 59,857 people for training, 19,952 to validate, 19,953 to test. With the one
    of the whole set (``--data``), 199,523 and two halves of 99,762.

    Args:
        width: of the first layer, at least 4; the second has half of it, the third a quarter.
    """
    return Benchmark(
        name="census",
        title="Census-Income",
        data=lambda split, root: Census(SHIPPED if root is None else root, split),
        network=Network(
            partial(trunk, width),
            partial(nn.Linear, width // 4),
            torch.rand(2, len(INPUTS), generator=torch.Generator().manual_seed(0)),
            stem="1",
        ),
        tasks=tasks,
        recipe=Recipe(epochs=10, batch=512, lr=1e-3, schedule="cosine", interval="step"),
    )
