"""A method of one's own, whose network has a penalty that fades with the progress."""

from tssbn import MultiTask, task_specific
from tssbn.methods import Method, heads


class Decayed(MultiTask):
    """Half the squared norm of its filters is a penalty, until the training ends."""

    progress = -1.0

    def penalty(self):
        squares = sum(p.square().sum() for p in self.trunk.parameters() if p.ndim == 4)
        return (1 - self.progress) * squares / 2


def build(network, outputs):
    return Decayed(task_specific(network.trunk(), outputs), heads(network, outputs))


METHOD = Method("decayed", build)
