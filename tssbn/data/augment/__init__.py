"""Augmentation that moves the image and every target of a sample together.

The transforms are those of ``torchvision.transforms.v2``. They choose what to do with a tensor by
its type, so :class:`Augment` gives each entry its own type (:mod:`tssbn.data.augment.entries`).
All pixels of an entry move with the image. The table lists what else happens to the entry:

========= ================== =================== ==================================
entry     interpolation      values, zoomed by s values, flipped or rotated
========= ================== =================== ==================================
image     of the transform   unchanged           unchanged
classes   nearest pixel      unchanged           unchanged
depth     nearest pixel      divided by s        unchanged
disparity nearest pixel      multiplied by s     unchanged
normal    of the transform   unchanged           vectors are mirrored or rotated too
attribute none, has no place unchanged           unchanged
========= ================== =================== ==================================

A zoom by s enlarges the image s times. Dividing depth by s and keeping the normals describes a
scene that is s times smaller, seen by a camera with s times the focal length. Zooms are
``v2.RandomAffine`` with a ``scale``, :class:`RandomZoom` and :class:`RandomScale`. ``v2.Resize``,
``v2.RandomResize`` and the like only change the resolution and keep all values.

Interpolated normals are divided by their length. If the length is 1/2 or less, the normal becomes
the zero vector: the pixels around were mostly ignored ones, or had opposite directions. Pixels from
outside of the image get the ``ignore`` value of the target (normals the zero vector), also where
the transform fills or mirrors the image.

:func:`nyuv2`, :func:`cityscapes`, :func:`pascal5` and :func:`pascal4` return the augmentation of
the benchmarks' protocols; use them as in ``NYUv2(root, "train", transform=nyuv2(NYUv2.targets))``.

All random numbers come from torch's global generator, so ``torch.manual_seed`` makes a run
repeatable. A ``DataLoader`` seeds its workers from that generator, or from its own ``generator`` if
it has one. With another number of workers, other random numbers are drawn.
"""

from .protocols import cityscapes, nyuv2, pascal4, pascal5
from .sample import Augment
from .transforms import RandomScale, RandomZoom

__all__ = ["Augment", "RandomScale", "RandomZoom", "cityscapes", "nyuv2", "pascal4", "pascal5"]
