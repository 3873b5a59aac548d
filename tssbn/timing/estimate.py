"""Counts of a training step on the meta device, and estimates of its memory and time.

No values are computed, so that a network of any size is counted on any machine in seconds.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from tssbn.contract import MultiTaskNetwork
from tssbn.cost import count_macs, parameters

__all__ = ["StepCost", "count_step"]


@dataclass(frozen=True)
class StepCost:
    """The counts of a training step in single precision.

    Attributes:
        macs: multiply-accumulates for an image, forward and backward.
        kept: bytes for an image that the largest pass keeps for its backward pass.
        held: bytes of all parameters, and of gradients and Adam's two averages of trained ones.

    Example:
        >>> StepCost(macs=10**9, kept=2**20, held=2**30).gib(batch=1024)
        2.0
    """

    macs: int
    kept: int
    held: int

    def gib(self, batch: int) -> float:
        """Estimate the memory of a step in GiB, from `held` and `kept`.

        Kernels that do not store attention weights need less. Temporary memory, such as workspaces
        and gradients of activations, is not included; it often adds a fifth.

        Args:
            batch: images in a batch.

        Example:
            >>> StepCost(macs=0, kept=2**28, held=2**30).gib(batch=4)
            2.0
        """
        return (self.held + batch * self.kept) / 2**30

    def seconds(self, batch: int, tflops: float, share: float = 0.4) -> float:
        """Estimate the time of a step on a device in seconds.

        Args:
            batch: images in a batch.
            tflops: peak rate of the device in 10^12 operations a second; a multiply-accumulate is
                two operations.
            share: share of the peak rate that is reached, usually 0.3 to 0.5 for transformers.
                Reading images, the optimiser and small kernels are not counted.

        Example:
            >>> StepCost(macs=10**12, kept=0, held=0).seconds(batch=4, tflops=100, share=0.4)
            0.2
        """
        return 2 * self.macs * batch / (share * tflops * 1e12)


def count_step(net: MultiTaskNetwork, images: Tensor) -> StepCost:
    """Count a training step of a network, with every pass forward and backward.

    The loss is not counted. Attention is counted as products of matrices whose weights are kept.

    Args:
        net: the network on the meta device, in the mode to be counted.
        images: a batch of 2 or more images on the meta device.

    Raises:
        ValueError: network or images are on another device.

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
            held = {}  # storages by address, kept alive so that addresses are not reused

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
