"""Multi-task networks from any backbone, by task-specific sigmoid normalisation.

The reference implementation of TSσBN (Suteu & Serban, arXiv 2512.20420). Convert a trunk with
`task_specific`, put heads on it with `MultiTask`, train with the groups of `param_groups`, and read
the gates with `tssbn.gates`.
"""

from tssbn import export, gates, gradients, pruning
from tssbn.contract import MultiTaskNetwork
from tssbn.convert import open_zero_initialised, sigmoid, task_specific
from tssbn.describe import describe
from tssbn.multitask import MultiTask
from tssbn.norm import (
    SigmoidBatchNorm1d,
    SigmoidBatchNorm2d,
    SigmoidBatchNorm3d,
    SigmoidGroupNorm,
    SigmoidInstanceNorm1d,
    SigmoidInstanceNorm2d,
    SigmoidInstanceNorm3d,
    SigmoidLayerNorm,
    SigmoidRMSNorm,
    TaskSigmoidBatchNorm1d,
    TaskSigmoidBatchNorm2d,
    TaskSigmoidBatchNorm3d,
    TaskSigmoidLayerNorm,
)
from tssbn.optim import param_groups
from tssbn.recognise import is_norm
from tssbn.recomputation import recompute
from tssbn.stem import find_stem
from tssbn.tasks import Tasks, TaskSpecific, select

__version__ = "0.1.0"

__all__ = [
    "MultiTask",
    "MultiTaskNetwork",
    "SigmoidBatchNorm1d",
    "SigmoidBatchNorm2d",
    "SigmoidBatchNorm3d",
    "SigmoidGroupNorm",
    "SigmoidInstanceNorm1d",
    "SigmoidInstanceNorm2d",
    "SigmoidInstanceNorm3d",
    "SigmoidLayerNorm",
    "SigmoidRMSNorm",
    "TaskSigmoidBatchNorm1d",
    "TaskSigmoidBatchNorm2d",
    "TaskSigmoidBatchNorm3d",
    "TaskSigmoidLayerNorm",
    "TaskSpecific",
    "Tasks",
    "describe",
    "export",
    "find_stem",
    "gates",
    "gradients",
    "is_norm",
    "open_zero_initialised",
    "param_groups",
    "pruning",
    "recompute",
    "select",
    "sigmoid",
    "task_specific",
]
