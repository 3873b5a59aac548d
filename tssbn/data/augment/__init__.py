"""Augmentation that moves the image and every target of a sample together.

The transforms are those of ``torchvision.transforms.v2``. :class:`Augment` shows each entry to
them as a tensor of its own type (:mod:`tssbn.data.augment.entries`), which says what a flip, a
rotation or a zoom does to it:

========= ============ ================== ======================================
entry     resampled    by a zoom of s     by a flip or a rotation
========= ============ ================== ======================================
image     as asked for stays              moves
classes   nearest      stays              moves
depth     nearest      is divided by s    moves
disparity nearest      is multiplied by s moves
normal    as the image stays              moves, and its vectors turn or mirror
attribute              stays              stays
========= ============ ================== ======================================

Depth divided by s and normals as they were show the scene shrunk by s, in a camera of s times the
focal length. A zoom is ``v2.RandomAffine`` with a ``scale``, :class:`RandomZoom` or
:class:`RandomScale`; ``v2.Resize`` and its random relatives only change the resolution.

Normals that are resampled are made unit again. Where the blend is shorter than 1/2, mostly ignored
pixels or opposite directions met, and it becomes the zero vector. Pixels that come from outside of
the image get the target's ``ignore`` (normals the zero vector), whatever a transform fills or
mirrors into the image there.

:func:`nyuv2`, :func:`cityscapes`, :func:`pascal5` and :func:`pascal4` are the pipelines of the
benchmarks' protocols, as in ``NYUv2(root, "train", transform=nyuv2(NYUv2.targets))``.

All random numbers come from torch's global generator, so ``torch.manual_seed`` makes a run
repeatable. A ``DataLoader`` with workers seeds them from that generator, or from the ``generator``
that it is given; what they draw changes with their number.
"""

from .protocols import cityscapes, nyuv2, pascal4, pascal5
from .sample import Augment
from .transforms import RandomScale, RandomZoom

__all__ = ["Augment", "RandomScale", "RandomZoom", "cityscapes", "nyuv2", "pascal4", "pascal5"]
