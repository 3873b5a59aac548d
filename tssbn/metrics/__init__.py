"""The metrics that score the tasks of the benchmarks.

====================================================== ============================ =============
metric                                                 first value                  printed for
====================================================== ============================ =============
:class:`~tssbn.metrics.segmentation.Segmentation`      mIoU                         classes
:class:`~tssbn.metrics.depth.Depth`                    absolute error               depth,
                                                                                    disparity
:class:`~tssbn.metrics.normals.Normals`                mean angle in degrees        normals
:class:`~tssbn.metrics.classification.Classification`  accuracy                     one class of
                                                                                    an image
:class:`~tssbn.metrics.attributes.Attributes`          mean F1                      attributes
:class:`~tssbn.metrics.auc.AUC`                        AUC                          one attribute
:class:`~tssbn.metrics.regression.Regression`          absolute error               numbers
:class:`~tssbn.metrics.saliency.SaliencyF`             maxF                         saliency
:class:`~tssbn.metrics.saliency.SaliencyIoU`           mean IoU at the best         saliency
                                                       threshold
:class:`~tssbn.metrics.boundary.Boundary`              odsF                         boundaries
====================================================== ============================ =============

All are torchmetrics: call ``update(prediction, target)`` for each batch, then ``compute()``, which
returns a dict of named numbers, in fractions (mIoU 0.4375, not 43.75) or in the metric's ``unit``.
Targets are batches of the entries that :class:`~tssbn.data.target.Target` describes. Missing labels
are left out, whatever is predicted there. A batch without a label is allowed; without a label in
any batch, the values are NaN. :class:`~tssbn.metrics.base.TaskMetric` shows how to write a metric.

Sums have 64 bits, also for half-precision inputs. With torch.distributed, ``compute()`` adds up the
sums of all processes. Give each process a different part of the data. DistributedSampler repeats
samples to make the parts equally long, and these would count twice. In a MetricCollection set
``compute_groups=False``: it would otherwise merge two variants of a metric that agree on the first
batch. Devices without 64-bit floats (mps) cannot hold the sums: move predictions to the CPU.
"""

import tssbn.bars  # noqa: F401
