"""Paints faces in layers of a few shapes, from the background to the hat.

In a face's coordinates the middle of the head is (0, 0), the eyes are near y = -0.06 and x = ±0.2,
and the chin is near y = 0.64. An attribute changes a shift, a colour or an opacity, in proportion
to how strongly it shows. Nothing else depends on the attributes: if one of them is changed, the
rest of the face stays the same.
"""

from torch import Tensor

from . import features, hair, outfit
from .face import Face

__all__ = ["AREAS", "TRAITS", "paint"]

TRAITS = 122  # random numbers of a face that do not depend on its attributes

# Where the attributes of a region may change a picture: boxes (left, top, right, bottom) in the
# face's coordinates, wide enough for heads that are turned to a side.
AREAS = {
    "beard": ((-0.58, -0.26, 0.58, 0.78),),
    "eyes": ((-0.58, -0.36, 0.58, 0.18),),
    "face": ((-0.62, -0.68, 0.62, 1.20),),
    "hair": (
        (-0.86, -1.00, 0.86, -0.15),
        (-0.68, -0.15, -0.25, 0.40),
        (0.25, -0.15, 0.68, 0.40),
        (-0.68, 0.40, -0.15, 0.90),
        (0.15, 0.40, 0.68, 0.90),
    ),
    "mouth": ((-0.34, 0.24, 0.34, 0.56),),
    "neck": ((-0.68, 0.08, -0.34, 0.46), (0.34, 0.08, 0.68, 0.46), (-0.38, 0.60, 0.38, 1.30)),
    "nose": ((-0.32, -0.16, 0.32, 0.28),),
}


def paint(face: Face) -> Tensor:
    """Paint the faces; return the pictures, (B, 3, size, size) uint8."""
    outfit.background(face)
    hair.behind(face)
    features.ears(face)
    features.neck(face)
    outfit.clothes(face)
    outfit.necktie(face)
    outfit.necklace(face)
    features.head(face)
    features.cheeks(face)
    features.bags(face)
    features.makeup(face)
    features.eyes(face)
    features.nose(face)
    hair.beard(face)
    features.mouth(face)
    hair.mustache(face)
    hair.eyebrows(face)
    hair.in_front(face)
    outfit.glasses(face)
    outfit.hat(face)
    outfit.earrings(face)
    return face.develop(face.light, 0.11)
