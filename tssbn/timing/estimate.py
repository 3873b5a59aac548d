"""What a training step costs, counted on the meta device, and estimates of memory and time.

Nothing is computed, so that a network of any size is counted on any machine in seconds.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from tssbn.contract import MultiTaskNetwork
from tssbn.cost import count_macs, parameters

__all__ = ["StepCost", "count_step"]


@dataclass(frozen=True)
class StepCost:
    """What a step counts, in single precision.

    Attributes:
        macs: multiply-accumulates of an image, forward and backward.
        kept: bytes of an image that the largest pass keeps for its backward pass.
        held: bytes of parameters, and of the gradients and Adam's two averages of those trained.
    """

    macs: int
    kept: int
    held: int

    def gib(self, batch: int) -> float:
        """Estimate the memory of a step: what is held, and kept of a batch.

        Kernels that do not store the weights of attention need less. What lives for a moment, such
        as workspaces and the gradients of activations, comes on top, often a fifth.

        Example:
            >>> StepCost(macs=0, kept=2**28, held=2**30).gib(batch=4)
            2.0
        """
        return (self.held + batch * self.kept) / 2**30

    def seconds(self, batch: int, tflops: float, share: float = 0.4) -> float:
        """Estimate the time of a step on a device.

        Args:
            batch: images.
            tflops: what the device can do at most, in 10^12 operations a second; a
                multiply-accumulate is two.
            share: of it that is reached. 0.3 to 0.5 is usual for transformers; reading images, the
                optimiser and small kernels are not counted at all.

        Example:
            >>> StepCost(macs=10**12, kept=0, held=0).seconds(batch=4, tflops=100, share=0.4)
            0.2
        """
        return 2 * self.macs * batch / (share * tflops * 1e12)


def count_step(net: MultiTaskNetwork, images: Tensor) -> StepCost:
    """Count a training step of a network: every pass forward and backward.

    The loss is taken to cost nothing. Attention counts as products of matrices, whose weights are
    kept.

    Args:
        net: on the meta device; in the mode in which it is counted.
        images: a batch on the meta device, of 2 or more.

    Raises:
        ValueError: they are on another device.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tssbn import MultiTask
        >>> with torch.device("meta"):
        ...     net = MultiTask(nn.Linear(8, 4, bias=False), {"a": nn.Linear(4, 2, bias=False)})
        ...     count_step(net, torch.empty(3, 8))  # 40 weights; of the images no gradient
        StepCost(macs=88, kept=16, held=640)
    """
    own = [*net.parameters(), *net.buffers()]
    if any(not x.is_meta for x in (images, *own)):
        raise ValueError("network and images must be on the meta device, where nothing is computed")
    permanent = {x.untyped_storage()._cdata for x in (images, *own)}
    kept: list[int] = []

    def step() -> None:
        for group in net.passes():
            held = {}  # storages by address, which alive are told apart

            def pack(x: Tensor, held: dict = held) -> Tensor:
                storage = x.untyped_storage()
                held[storage._cdata] = storage
                return x

            with saved_tensors_hooks(pack, lambda x: x):
                predictions = net(images, group)
            kept.append(sum(held[at].nbytes() for at in held.keys() - permanent))
            sum(x.sum() for x in predictions.values()).backward()

    macs = count_macs(net, step)
    net.zero_grad()
    trained, every = parameters(net), parameters(net, frozen=True)
    return StepCost(macs // len(images), max(kept) // len(images), 4 * (every + 3 * trained))
