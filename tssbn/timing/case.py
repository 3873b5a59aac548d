"""A case to be measured, which can be sent to another process."""

from dataclasses import dataclass

import torch

from tssbn.timing.networks import TimedTrunk
from tssbn.timing.strategies import Setting, TimedStep, make_network

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """A network, a number of tasks and a strategy to be measured.

    Attributes:
        network: the trunk.
        batch: images in a batch.
        size: height and width of the images.
        tasks: number of tasks.
        strategy: one of :data:`tssbn.timing.strategies.ABOUT`.
        setting: device, precision and mode.

    Example:
        >>> from functools import partial
        >>> from torch import nn
        >>> trunk = TimedTrunk(lambda size: nn.BatchNorm2d(3), 4, (8, 8))
        >>> case = Case(trunk, trunk.batch, trunk.size, 2, "stacked", Setting())
        >>> case.step().images.shape
        torch.Size([4, 3, 8, 8])
    """

    network: TimedTrunk
    batch: int
    size: tuple[int, int]
    tasks: int
    strategy: str
    setting: Setting

    def step(self) -> TimedStep:
        """Make the step, with the same weights and images at every call.

        Raises:
            ValueError: the network does not accept images of this size.
        """
        torch.manual_seed(0)
        images = torch.rand(self.batch, 3, *self.size).to(self.setting.device)
        try:
            trunk = self.network.build(self.size).to(self.setting.device)
            with torch.no_grad():
                trunk.eval()(images[:2])
        except (RuntimeError, AssertionError, ValueError) as error:
            height, width = self.size
            raise ValueError(f"images of {height}x{width} do not suit: {error}") from error
        return TimedStep(
            make_network(self.strategy, trunk, self.tasks, self.network.stem), images, self.setting
        )
