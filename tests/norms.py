"""What a task may own in a norm layer: the two of the paper, and the two ablations."""

from tssbn.methods.ablations import affine, statistics

NORMS = {"sigmoid": "sigmoid", "plain": "plain", "statistics": statistics, "affine": affine}
