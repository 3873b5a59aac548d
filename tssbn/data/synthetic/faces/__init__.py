"""Synthetic faces: drawn portraits with attributes of which it is known where they show."""

from .labels import ATTRIBUTES, REGIONS
from .make import Faces, draw, faces

__all__ = ["ATTRIBUTES", "REGIONS", "Faces", "draw", "faces"]
