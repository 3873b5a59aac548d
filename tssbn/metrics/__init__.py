"""The numbers by which the benchmarks rank networks.

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

All are torchmetrics: ``update(prediction, target)`` for each batch, then ``compute()``, which gives
a dict of named numbers, in fractions (mIoU 0.4375, not 43.75) or in the metric's ``unit``. Targets
are batches of the entries that :class:`~tssbn.data.target.Target` describes; what it says is not
counted changes no value, whatever is predicted there. A batch in which nothing counts is fine;
where nothing was counted at all, the values are NaN. :class:`~tssbn.metrics.base.TaskMetric` says
how to write a metric.

Sums have 64 bits, also for half-precision inputs. With torch.distributed, ``compute()`` adds up the
sums of all processes. Give each process its own part of the data: DistributedSampler repeats
samples to make the parts equal, and those would count twice. In a MetricCollection say
``compute_groups=False``: it would merge two variants of a metric that agree on the first batch.
Devices without 64-bit floats (mps) cannot hold the sums: move predictions to the CPU.
"""

import tssbn.bars  # noqa: F401
