"""Synthetic faces: drawn portraits with binary attributes, each in a known region of the face."""

from .labels import ATTRIBUTES, REGIONS
from .make import Faces, draw, faces

__all__ = ["ATTRIBUTES", "REGIONS", "Faces", "draw", "faces"]
