"""A balancing in a file of one's own, whose weighting remembers the steps before."""

from torchjd.aggregation import GradVacWeighting

from tssbn.training.balancing import Aggregated


def balancing(net):
    return Aggregated(net, GradVacWeighting())
