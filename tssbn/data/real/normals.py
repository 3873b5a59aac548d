"""Computes surface normals from depth."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["from_depth"]


def from_depth(
    depth: Tensor, camera: tuple[float, float, float, float], window: int = 11
) -> Tensor:
    """Compute surface normals from depth, by fitting a plane around each pixel.

    A pixel sees the point p = z r, where z is the depth and r = (u, v, 1) the viewing ray. If p is
    on the plane n · p = d, then 1/z = (n/d) · r, which is linear in u and v. So 1/z is fitted by
    least squares as a linear function of u and v, over a square around each pixel. Its three
    coefficients are the vector n/d, which is scaled to length 1.

    Args:
        depth: (H, W) metres along the optical axis, 0 if unknown.
        camera: focal lengths and principal point in pixels: fx, fy, cx, cy.
        window: the side of the square in pixels, an odd number.

    Returns:
        (3, H, W) float32 unit vectors that point to the camera, x right, y down, z forward. The
        vector is zero if the depth of more than half of the square is unknown. It is also zero if
        the root mean square error of the fit is over 2 % of 1/depth, as at the edges of objects.

    Raises:
        ValueError: ``depth`` is not (H, W), or ``window`` is even or under 3.

    Example:
        >>> from_depth(torch.full((20, 20), 2.0), (20, 20, 10, 10))[:, 10, 10] + 0.0
        tensor([ 0.,  0., -1.])
    """
    if depth.ndim != 2:
        raise ValueError(f"depth must be (H, W), got {tuple(depth.shape)}")
    if window < 3 or window % 2 == 0:
        raise ValueError(f"window must be an odd number of at least 3, got {window}")
    fx, fy, cx, cy = camera
    height, width = depth.shape
    known = (depth > 0).double()
    q = known / depth.double().where(depth > 0, 1.0)
    u = ((torch.arange(width, dtype=torch.float64) - cx) / fx).expand(height, width)
    v = ((torch.arange(height, dtype=torch.float64) - cy) / fy)[:, None].expand(height, width)

    half = window // 2
    terms = torch.stack([torch.ones_like(q), u, v, q, u * u, v * v, u * v, u * q, v * q, q * q])
    inside = {"stride": 1, "count_include_pad": False}  # means over what lies in the frame
    rows = F.avg_pool2d(terms * known, (window, 1), padding=(half, 0), **inside)
    share, *means = F.avg_pool2d(rows, (1, window), padding=(0, half), **inside)
    mu, mv, mq, uu, vv, uv, uq, vq, qq = (mean / share.clamp_min(1e-12) for mean in means)
    uu, vv, uv = uu - mu * mu, vv - mv * mv, uv - mu * mv  # covariances
    uq, vq, qq = uq - mu * mq, vq - mv * mq, qq - mq * mq
    scale = (uu * vv - uv * uv).clamp_min(1e-30)
    a, b = (uq * vv - vq * uv) / scale, (vq * uu - uq * uv) / scale
    normal = -torch.stack([a, b, mq - a * mu - b * mv])

    error = (qq - a * uq - b * vq).clamp_min(0).sqrt()
    good = (share > 0.5) & (error <= 0.02 * mq)
    return (F.normalize(normal, dim=0) * good).float()
