"""σBN and TSσBN: normalisation layers whose only scale is a bounded gate.

The paper's layers have classes of their own: `SigmoidBatchNorm2d` (eq. 2) and
`TaskSigmoidBatchNorm2d` (eq. 3), for one to three dimensions, and their LayerNorm forms. All other
normalisation layers, of PyTorch and of other libraries, are gated by a mixin. The mixin keeps the
layer's own ``forward`` and replaces its attributes ``weight`` and ``bias``.
"""

from tssbn.norm.sigmoid import (
    SigmoidBatchNorm1d,
    SigmoidBatchNorm2d,
    SigmoidBatchNorm3d,
    SigmoidGroupNorm,
    SigmoidInstanceNorm1d,
    SigmoidInstanceNorm2d,
    SigmoidInstanceNorm3d,
    SigmoidLayerNorm,
    SigmoidNorm,
    SigmoidRMSNorm,
)
from tssbn.norm.task_sigmoid import (
    TaskSigmoidBatchNorm,
    TaskSigmoidBatchNorm1d,
    TaskSigmoidBatchNorm2d,
    TaskSigmoidBatchNorm3d,
    TaskSigmoidLayerNorm,
    TaskSigmoidNorm,
)
from tssbn.norm.task_specific import TaskAffineNorm, TaskSpecificNorm

__all__ = [
    "SigmoidBatchNorm1d",
    "SigmoidBatchNorm2d",
    "SigmoidBatchNorm3d",
    "SigmoidGroupNorm",
    "SigmoidInstanceNorm1d",
    "SigmoidInstanceNorm2d",
    "SigmoidInstanceNorm3d",
    "SigmoidLayerNorm",
    "SigmoidNorm",
    "SigmoidRMSNorm",
    "TaskAffineNorm",
    "TaskSigmoidBatchNorm",
    "TaskSigmoidBatchNorm1d",
    "TaskSigmoidBatchNorm2d",
    "TaskSigmoidBatchNorm3d",
    "TaskSigmoidLayerNorm",
    "TaskSigmoidNorm",
    "TaskSpecificNorm",
]
