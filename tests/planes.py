"""Planes as a camera sees them."""

import numpy as np


def plane(normal, distance, size, camera):
    """The depth of the plane n · p = -distance, in float64."""
    fx, fy, cx, cy = camera
    v, u = np.mgrid[: size[0], : size[1]].astype(float)
    ray = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones(size)])
    return -distance / np.tensordot(normal, ray, 1)
