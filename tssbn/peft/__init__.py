"""Trainable modules to insert into a frozen trunk.

Low-rank updates, bottleneck and Kronecker adapters, biases and prompts. Each task of a network can
have its own set of parameters; the rows of all tasks then go through a layer at once, by one
batched product over the tasks. Low-rank updates and bottleneck adapters can also be shared by all
tasks. The methods in ``tssbn.methods``, such as :mod:`tssbn.methods.low_rank`, choose where in
a trunk they are inserted.
"""

from tssbn.peft.bias import TaskBias
from tssbn.peft.bottleneck import Adapter, bottleneck
from tssbn.peft.kronecker import TaskKronecker, kronecker
from tssbn.peft.linear import TaskLinear, linear
from tssbn.peft.low_rank import LowRank, Parallel, updated
from tssbn.peft.prompts import TaskPrompts

__all__ = [
    "Adapter",
    "LowRank",
    "Parallel",
    "TaskBias",
    "TaskKronecker",
    "TaskLinear",
    "TaskPrompts",
    "bottleneck",
    "kronecker",
    "linear",
    "updated",
]
