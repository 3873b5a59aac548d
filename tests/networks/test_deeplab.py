"""Which weights of a head's dilated filters read the image."""

import pytest
import torch

pytest.importorskip("timm")
deeplab = pytest.importorskip("tssbn.networks.deeplab")


def learning(size, rate):
    """For each weight of the 3x3 filters of a rate, whether a loss reaches it."""
    torch.manual_seed(0)
    head = deeplab.DeepLabHead(2, inputs=3, width=4).double().eval()
    (conv,) = [part for part in head.modules() if getattr(part, "dilation", 0) == (rate, rate)]
    conv(torch.randn(1, 3, *size, dtype=torch.float64)).square().sum().backward()
    return (conv.weight.grad != 0).flatten(0, 1).all(0)


def test_on_small_features_a_large_rate_reads_the_image_with_its_centre_alone():
    centre = torch.zeros(3, 3, dtype=torch.bool)
    centre[1, 1] = True
    assert learning((32, 32), 12).all() and learning((32, 32), 24).all()
    assert learning((32, 32), 36).equal(centre)  # the crops of Cityscapes, at an eighth
    row = centre.clone()
    row[1] = True
    assert learning((32, 64), 36).equal(row)  # whole images
