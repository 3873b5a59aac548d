"""A benchmark that trains in no time: what the tests of the trainer take."""

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from tssbn.benchmarks import Benchmark, Recipe, example
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.target import Target
from tssbn.methods import Network
from tssbn.training.run import Run

TARGETS = {"parts": Target("classes", ("a", "b", "c")), "depth": Target("depth", ignore=0)}
SAMPLES = {"train": 12, "val": 4, "test": 5}


def data(split: str, root: None = None) -> Stored:
    """Random 6x8 images and targets without void, others for each split."""
    random, n = torch.Generator().manual_seed(len(split)), SAMPLES[split]
    return Stored(
        {
            "image": torch.rand(n, 3, 6, 8, generator=random),
            "parts": torch.randint(3, (n, 6, 8), generator=random),
            "depth": torch.rand(n, 1, 6, 8, generator=random) + 1,
        },
        TARGETS,
    )


def trunk(norm: type[nn.Module]) -> nn.Module:
    """Two norm layers, of batch statistics or not."""
    norms = [nn.GroupNorm(2, 4) if norm is nn.GroupNorm else norm(4) for _ in range(2)]
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
    return nn.Sequential(first, norms[0], nn.ReLU(), second, norms[1])


def run(
    method: str = "tssbn",
    norm: type[nn.Module] = nn.BatchNorm2d,
    seed: int = 0,
    augment=None,
    settings=None,
    **recipe,
) -> Run:
    """Three epochs of SGD with momentum, in batches of 4; what differs is part of the name.

    Args:
        settings: further ones, of the method or the balancing.
        recipe: fields that differ.
    """
    benchmark = Benchmark(
        name="tiny",
        title="tiny",
        data=data,
        network=Network(partial(trunk, norm), partial(nn.Conv2d, 4, kernel_size=1), example(6, 8)),
        tasks=tasks_for,
        recipe=Recipe(epochs=3, batch=4, lr=0.1, optimiser="sgd"),
        augment=augment,
    )
    return Run(benchmark, method, seed, {**recipe, **(settings or {})})


def changed(run: Run, **fields) -> Run:
    """The same on a benchmark that differs in some fields."""
    ours = (*run.options, "balance", *(f"balance.{key}" for key in run.balance_options))
    settings = {key: value for key, value in run.settings.items() if key in ours}
    return Run(replace(run.benchmark, **fields), run.method, run.seed, settings)
