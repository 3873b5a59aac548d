"""Normals from depth."""

import numpy as np
import pytest
import torch
from planes import plane

from tssbn.data.real.normals import from_depth


@pytest.mark.parametrize(
    "normal", [(0, 0, -1), (0.6, 0, -0.8), (0, -0.8, -0.6), (-0.48, 0.6, -0.64)]
)
def test_normals_of_planes_are_exact(normal):
    camera = (60, 55, 19, 14)
    depth = torch.from_numpy(plane(np.array(normal), 2.0, (30, 40), camera))
    assert (depth > 0).all()
    found = from_depth(depth, camera)
    assert found.dtype == torch.float32
    error = (found - torch.tensor(normal)[:, None, None]).norm(dim=0)
    assert error.max() < 1e-5  # up to the border, of float32


def test_normals_are_void_across_an_edge_and_where_depth_is_unknown():
    camera = (60, 55, 19, 14)
    depth = torch.full((30, 40), 2.0)
    depth[:, 20:] = 3.0
    known = from_depth(depth, camera).norm(dim=0) > 0
    assert known[:, :15].all() and known[:, 25:].all() and not known[:, 17:23].any()
    depth = torch.full((30, 40), 2.0)
    depth[10:20, 10:30] = 0
    known = from_depth(depth, camera, window=5).norm(dim=0) > 0
    assert not known[13:17, 13:27].any() and known[:7].all() and known[23:].all()
    assert torch.isfinite(from_depth(torch.zeros(8, 8), camera)).all()
    with pytest.raises(ValueError, match=r"depth must be \(H, W\), got \(1, 8, 8\)"):
        from_depth(torch.zeros(1, 8, 8), camera)
    for window in (1, 4):
        with pytest.raises(ValueError, match=f"window must be an odd number .* got {window}"):
            from_depth(depth, camera, window)
