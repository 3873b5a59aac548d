"""Samples with a target of every kind that is augmented."""

import torch
from settings import DEVICE, DTYPE

from tssbn.data.target import Target

TARGETS = {
    "segmentation": Target("classes", ("background", "bed", "wall"), ignore=-1),
    "parts": Target("classes", ("background", "head"), ignore=-1),
    "depth": Target("depth", ignore=0),
    "disparity": Target("disparity", ignore=-1),
    "normal": Target("normal"),
    "Smiling": Target("attribute"),
}


def random(*shape):
    return torch.rand(shape, dtype=DTYPE, device=DEVICE)


def make(h, w, void=0.2, only=TARGETS):
    """Noise, with a share of pixels that are not to be counted."""
    seen = random(1, h, w) >= void
    sample = {
        "image": random(3, h, w),
        "segmentation": torch.randint(3, (h, w), device=DEVICE).where(seen[0], -1),
        "parts": torch.randint(2, (h, w), device=DEVICE).where(seen[0], -1),
        "depth": (0.5 + random(1, h, w)).where(seen, 0),
        "disparity": random(1, h, w).where(seen, -1),
        "normal": torch.nn.functional.normalize(random(3, h, w) - 0.5, dim=0).where(seen, 0),
        "Smiling": torch.tensor(1, device=DEVICE),
    }
    return {name: sample[name] for name in ("image", *only)}


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)
