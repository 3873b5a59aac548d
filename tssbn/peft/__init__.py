"""Trainable modules to insert into a frozen trunk.

Low-rank updates, bottleneck and Kronecker adapters, biases and prompts. Of each, every task of a
network may own one; the rows of all tasks then go through a layer at once, by one batched product
over the tasks. Low-rank updates and bottleneck adapters may also be one for all tasks. Where they
stand in a trunk, a method says; see :mod:`tssbn.methods.low_rank` and those after it.
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
