"""Hard sharing whose heads read the features through dropout: a method of one's own."""

from torch import nn

from tssbn import MultiTask
from tssbn.methods import Method


def build(network, outputs, drop: float = 0.5):
    trunk = nn.Sequential(network.trunk(), nn.Dropout(drop))
    return MultiTask(trunk, {task: network.head(n) for task, n in outputs.items()})


METHOD = Method("HPS, dropout", build, color="sky", settings={"batch": 8})
