"""Make one gradient of the shared parameters out of one for each task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from tssbn.contract import MultiTaskNetwork
from tssbn.training.balancing.base import Balancing
from tssbn.training.processes import all_reduce_mean

__all__ = ["Aggregated", "gramian"]

Row = list[Tensor | None]  # a task's gradient, by shared parameter; None where it reaches none


class Aggregated(Balancing):
    """Weighs the tasks' gradients g_t = ∂L_t/∂θ of the shared parameters θ.

    They get d = Σ_t w_t g_t, where the weights w follow from the scalar products g_s·g_t. Heads,
    gates and whatever else is a task's own get the gradient of the plain sum.

    Each task has a backward pass. The rows g_t are averaged over the processes before they are
    weighed. Weightings that draw random numbers draw them from a stream of their own, which goes on
    after an interruption, is the same in all processes, and changes nothing else that is random.
    What a weighting remembers from step to step goes on after an interruption, too.

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
        >>> heads = {"a": torch.nn.ReLU(), "b": torch.nn.ReLU()}
        >>> net = tssbn.MultiTask(torch.nn.Linear(2, 1), heads)
        >>> norms = Aggregated(net, lambda gramian: gramian.diagonal().rsqrt())
        >>> fabric, y = Fabric(accelerator="cpu", devices=1), net.trunk(torch.tensor([[0.6, 0.8]]))
        >>> norms.backward(net, {"a": 2 * y.sum(), "b": 5 * y.sum()}, fabric)
        >>> norms.finish(net, fabric)
        >>> net.trunk.weight.grad.norm() + 0, net.trunk.bias.grad  # two unit vectors over both
        (tensor(1.4142), tensor([1.4142]))
    """

    one_task_per_pass = True

    def __init__(self, net: MultiTaskNetwork, weighting: Callable[[Tensor], Tensor]):
        super().__init__()
        self.shared = net.shared()
        if not self.shared:
            raise ValueError(
                f"the tasks of {type(net).__name__} share no parameter, so that there are no "
                "gradients to weigh against one another: train it by the plain sum"
            )
        # No submodule: torchjd's may have buffers that are None until the first step, which no
        # state_dict loads.
        object.__setattr__(self, "weighting", weighting)
        self.rows: dict[str, Row] = {}
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

    def check(self, precision: str, compile: bool) -> None:
        """Refuse float16, whose scaled gradients may overflow in one row and not in another."""
        if precision == "16":
            raise ValueError(
                "precision='16' scales the losses until a gradient overflows, which must not enter "
                "the weights of the tasks: take 'bf16', 'tf32' or '32'"
            )

    def backward(self, net: MultiTaskNetwork, losses: Mapping[str, Tensor], fabric: Fabric) -> None:
        """Put the gradients of the shared parameters aside, a row for each task."""
        *_, last = losses
        for task, loss in losses.items():
            fabric.backward(loss, retain_graph=task != last)
            self.rows[task] = [p.grad for p in self.shared]
            for p in self.shared:
                p.grad = None

    @torch.no_grad()
    def finish(self, net: MultiTaskNetwork, fabric: Fabric) -> None:
        """Weigh the rows.

        Raises:
            FloatingPointError: A task's gradient is NaN or infinite; names the task.
        """
        super().finish(net, fabric)  # of the tasks' own parameters: the others have none yet
        rows, self.rows = self.rows, {}
        all_reduce_mean(fabric, (g for row in rows.values() for g in row if g is not None))
        products = gramian(list(rows.values()))
        for task, square in zip(rows, products.diagonal(), strict=True):
            if not square.isfinite():
                raise FloatingPointError(f"the gradient of {task!r} is not finite in a step")
        weights = self._weigh(products).tolist()
        for p, column in zip(self.shared, zip(*rows.values(), strict=True), strict=True):
            parts = [w * g for w, g in zip(weights, column, strict=True) if g is not None]
            p.grad = sum(parts) if parts else None

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


def gramian(rows: Sequence[Row]) -> Tensor:
    """The scalar products g_s·g_t of the tasks' gradients, parameter by parameter.

    In float64, as the products of millions of numbers lose digits in float32.

    Shape:
        - Output: (T, T), on the CPU

    Example:
        >>> gramian([[torch.tensor([3.0, 4.0]), None], [torch.tensor([1.0, 0.0]), torch.ones(2)]])
        tensor([[25.,  3.],
                [ 3.,  3.]], dtype=torch.float64)
    """
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for column in zip(*rows, strict=True):
        known = [g for g in column if g is not None]
        if known:
            zero = torch.zeros_like(known[0])
            stacked = torch.stack([zero if g is None else g for g in column]).flatten(1)
            if stacked.device.type == "mps":  # has no float64
                stacked = stacked.cpu()
            stacked = stacked.double()
            total = total.to(stacked.device) + stacked @ stacked.T
    return total.cpu()
