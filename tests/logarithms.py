"""A balancing in a file of one's own: the sum of the logarithms of the losses."""

from tssbn.training.balancing import Scalarised


def balancing(net, least: float = 1e-8):
    return Scalarised(lambda losses: (losses + least).log().sum())
