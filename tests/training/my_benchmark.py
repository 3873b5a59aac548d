"""Colours of noise: a benchmark of one's own."""

from functools import partial

import torch
from torch import nn

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.target import Target
from tssbn.methods import Network


def data(split, root):  # root: the folder that --data names
    images = torch.rand(48, 3, 16, 16, generator=torch.Generator().manual_seed(len(split)))
    red, green, blue = images.mean((2, 3)).unbind(1)
    entries = {"red": (red > blue).long(), "green": (green > blue).long()}
    return Stored({"image": images, **entries}, {name: Target("attribute") for name in entries})


def trunk(width):
    conv, pool = nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(), pool, nn.Flatten())


def benchmark(width: int = 8) -> Benchmark:
    network = Network(partial(trunk, width), partial(nn.Linear, width), dummy_images(16, 16))
    recipe = Recipe(epochs=2, batch=16, lr=1e-3)
    return Benchmark("my_benchmark", "colours", data, network, tasks_for, recipe)
