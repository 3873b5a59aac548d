"""Weighted sums of the tasks' gradients, with weights that follow from their scalar products."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.rows import Row, Rows, weighted_sum

__all__ = ["Aggregated"]


class Aggregated(Rows):
    """A weighted sum d = Σ_t w_t g_t of the tasks' gradients g_t = ∂L_t/∂θ of shared parameters θ.

    The weights w are a function of the scalar products g_s·g_t. Heads, gates and other parameters
    of a single task get the gradient of the plain sum. Each task has a backward pass.

    Random numbers of a weighting come from a separate stream, which is saved in checkpoints, is the
    same in all processes, and leaves all other random numbers unchanged. The state of a weighting
    is saved in checkpoints as well.

    Args:
        net: the network.
        weighting: maps the Gramian (T, T) of the gradients, in float64 on the CPU, to weights (T,),
            such as the Gramian weightings of ``torchjd.aggregation``. Of a module, attributes that
            are tensors, numbers, strings or lists of these are saved in checkpoints; its parameters
            are not trained.

    Raises:
        ValueError: the tasks share no parameter.

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
        # Not registered as a submodule: buffers of torchjd's weightings may be None until the first
        # step, and a state_dict cannot load these.
        object.__setattr__(self, "weighting", weighting)
        self.register_buffer("seed", torch.randint(2**62, ()))  # of the next step's weights

    def get_extra_state(self) -> dict[str, dict[str, Any]]:
        """Return the state of the weighting, by submodule and attribute."""
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
        """Restore the state of the weighting."""
        for name, module in _modules(self.weighting):
            for key, value in state[name].items():
                setattr(module, key, value)

    def combine(self, rows: Mapping[str, Row], products: Tensor) -> Row:
        """Compute Σ_t w_t g_t."""
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
    """Tell whether a checkpoint can hold a value."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (Tensor, bool, int, float, str, torch.dtype))
