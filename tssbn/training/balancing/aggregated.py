"""Weigh the tasks' gradients of the shared parameters by their scalar products."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.rows import Row, Rows, weighted_sum

__all__ = ["Aggregated"]


class Aggregated(Rows):
    """Weighs the tasks' gradients g_t = ∂L_t/∂θ of the shared parameters θ.

    They get d = Σ_t w_t g_t, where the weights w follow from the scalar products g_s·g_t. Heads,
    gates and whatever else is a task's own get the gradient of the plain sum.

    Each task has a backward pass. Weightings that draw random numbers draw them from a stream of
    their own, which goes on after an interruption, is the same in all processes, and changes
    nothing else that is random. What a weighting remembers from step to step goes on after an
    interruption, too.

    Args:
        net: The network.
        weighting: Maps the Gramian (T, T) of the rows, in float64 on the CPU, to weights (T,). The
            weightings of a Gramian in ``torchjd.aggregation`` fit. Of a module, what its attributes
            hold in tensors, numbers, strings and lists of them is kept in checkpoints; parameters
            are not trained.

    Raises:
        ValueError: The tasks share no parameter.

    Example:
        >>> import tssbn
        >>> from lightning_fabric import Fabric
        >>> heads = {"a": torch.nn.ReLU(), "b": torch.nn.ReLU()}
        >>> net = tssbn.MultiTask(torch.nn.Linear(2, 1), heads)
        >>> norms = Aggregated(net, lambda gramian: gramian.diagonal().rsqrt())
        >>> fabric, y = Fabric(accelerator="cpu", devices=1), net.trunk(torch.tensor([[0.6, 0.8]]))
        >>> norms.backward(net, {"a": 2 * y.sum(), "b": 5 * y.sum()}, fabric)
        >>> norms.finish(net, fabric)
        >>> net.trunk.weight.grad.norm() + 0, net.trunk.bias.grad  # two unit vectors over both
        (tensor(1.4142), tensor([1.4142]))
    """

    def __init__(self, net: MultiTaskNetwork, weighting: Callable[[Tensor], Tensor]):
        super().__init__(net)
        # No submodule: torchjd's may have buffers that are None until the first step, which no
        # state_dict loads.
        object.__setattr__(self, "weighting", weighting)
        self.register_buffer("seed", torch.randint(2**62, ()))  # of the next step's weights

    def get_extra_state(self) -> dict[str, dict[str, Any]]:
        """What the weighting remembers, by submodule and attribute."""
        usual = vars(nn.Module())
        return {
            name: {
                key: value
                for key, value in {**vars(module), **module._buffers}.items()
                if key not in usual and _is_plain(value)
            }
            for name, module in _modules(self.weighting)
        }

    def set_extra_state(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember it again."""
        for name, module in _modules(self.weighting):
            for key, value in state[name].items():
                setattr(module, key, value)

    def combine(self, rows: Mapping[str, Row], products: Tensor) -> Row:
        """Σ_t w_t g_t."""
        return weighted_sum(rows.values(), self._weigh(products).tolist())

    def _weigh(self, products: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(int(self.seed))
            weights = self.weighting(products)
        self.seed += 1
        return weights


def _modules(weighting: Callable[[Tensor], Tensor]) -> list[tuple[str, nn.Module]]:
    return list(weighting.named_modules()) if isinstance(weighting, nn.Module) else []


def _is_plain(value: Any) -> bool:
    """Whether a checkpoint can hold it."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (Tensor, bool, int, float, str, torch.dtype))
