"""The base of MMoE, CGC and DSelect-k, several trunks of which each task reads a mixture.

A gate computes a weight for each expert and image, the same at all pixels. Its logits are linear in
the input of the experts:

* ``"pooled"``: in the mean of each channel, so that images may have any size;
* ``"image"``: in all values, flattened, as in LibMTL's code. Such a gate only takes images of the
  size of the network's example, and for each expert has one weight for each value.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from tssbn.names import check_tasks, choose_tasks

__all__ = ["Experts", "Flattened", "Pooled", "check_gate", "linear", "mix", "softmax"]


class Pooled(nn.Linear):
    """A linear layer that reads the mean of each channel; its arguments are those of nn.Linear.

    Shape: (B, C, ...) -> (B, outputs).

    Example:
        >>> Pooled(3, 2)(torch.rand(4, 3, 5, 6)).shape
        torch.Size([4, 2])
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(2).mean(2) if x.ndim > 2 else x)


class Flattened(nn.Linear):
    """A linear layer that reads all values of an input; its arguments are those of nn.Linear.

    Shape: (B, ...) -> (B, outputs).

    Raises:
        ValueError: the inputs have another number of values.

    Example:
        >>> Flattened(90, 2)(torch.rand(4, 3, 5, 6)).shape
        torch.Size([4, 2])
    """

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if x.shape[1] != self.in_features:
            raise ValueError(
                f"a gate of {self.in_features} values got {x.shape[1]} of each image: "
                "gate='image' takes images of the size of the network's example alone, "
                "gate='pooled' of any"
            )
        return super().forward(x)


GATES = {"pooled": Pooled, "image": Flattened}


def check_gate(gate: str, known: Iterable[str] = GATES) -> None:
    """Raise an error for an unknown kind of gate.

    Args:
        gate: the kind.
        known: the known kinds.

    Raises:
        ValueError: the kind is unknown; the message lists the known ones.

    Example:
        >>> check_gate("pixel")
        Traceback (most recent call last):
        ValueError: gate='pixel' is unknown, use one of pooled, image
    """
    if gate not in known:
        raise ValueError(f"gate={gate!r} is unknown, use one of {', '.join(known)}")


def linear(gate: str, shape: Sequence[int], outputs: int) -> nn.Linear:
    """Make a linear layer for features of a shape.

    Args:
        gate: what the layer reads: ``"pooled"``, the means of the channels, or ``"image"``, all
            values.
        shape: of the features of one image.
        outputs: outputs of the layer.

    Raises:
        ValueError: there is no such gate.

    Example:
        >>> linear("image", (3, 5, 6), outputs=2)
        Flattened(in_features=90, out_features=2, bias=True)
    """
    check_gate(gate)
    return GATES[gate](shape[0] if gate == "pooled" else torch.Size(shape).numel(), outputs)


def softmax(gate: str, shape: Sequence[int], experts: int) -> nn.Sequential:
    """Make a gate whose weights are positive and sum to 1.

    Args:
        gate, shape: as for :func:`linear`.
        experts: number of experts.

    Raises:
        ValueError: there is no such gate.

    Example:
        >>> softmax("pooled", (3, 5, 6), experts=2)(torch.rand(4, 3, 5, 6)).shape
        torch.Size([4, 2])
    """
    return nn.Sequential(linear(gate, shape, experts), nn.Softmax(1))


def mix(weights: Tensor, features: Sequence[Any]) -> Any:
    """Sum the features of experts, weighted for each image.

    Args:
        weights: (B, K).
        features: for each of the K experts a tensor (B, ...) or a tree of tensors.

    Returns:
        (B, ...), or a tree of tensors.

    Example:
        >>> mix(torch.tensor([[0.5, 2.0]]), [torch.ones(1, 3), torch.ones(1, 3)])
        tensor([[2.5000, 2.5000, 2.5000]])
    """

    def add(*parts: Tensor) -> Tensor:
        columns = weights.to(parts[0].dtype).unbind(1)
        shape = (-1, *[1] * (parts[0].ndim - 1))
        return sum(w.reshape(shape) * part for w, part in zip(columns, parts, strict=True))

    return tree_map(add, *features)


class Experts(nn.Module):
    """Trunks, with a gate for each task that mixes the features of some of them, and a head.

    Args:
        experts: the trunks.
        reads: for each task, the indices of the K experts that it reads.
        gates: for each task, a module that maps the input to the weights (B, K) of these experts.
        heads: a module for each task, which reads the mixture.

    Example:
        >>> gate, trunks = softmax("pooled", (2,), 2), [nn.ReLU(), nn.Tanh()]
        >>> net = Experts(trunks, {"a": [0, 1]}, {"a": gate}, {"a": nn.Identity()})
        >>> net(torch.rand(4, 2))["a"].shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        experts: Iterable[nn.Module],
        reads: Mapping[str, Sequence[int]],
        gates: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
    ):
        super().__init__()
        self.tasks = check_tasks(heads)
        self.experts = nn.ModuleList(experts)
        self.reads = {task: tuple(reads[task]) for task in self.tasks}
        self.gates = nn.ModuleDict({task: gates[task] for task in self.tasks})
        self.heads = nn.ModuleDict(heads)

    tasks_per_pass = None  # all share the experts

    def passes(self) -> Iterator[tuple[str, ...]]:
        """Yield all tasks at once, because they share the passes through the experts."""
        yield self.tasks

    def shared(self) -> list[nn.Parameter]:
        """List the parameters of the experts that more than one task reads."""
        readers = Counter(place for task in self.tasks for place in self.reads[task])
        return [
            parameter
            for place, expert in enumerate(self.experts)
            if readers[place] > 1
            for parameter in expert.parameters()
        ]

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predict the named tasks, all by default; only the experts that they read run.

        Raises:
            ValueError: a task is unknown or named twice, or none is named.
        """
        names = self.tasks if tasks is None else choose_tasks(tasks, self.tasks)
        places = sorted({place for task in names for place in self.reads[task]})
        given = {place: self.experts[place](x) for place in places}
        outputs = {}
        for task in names:
            features = [given[place] for place in self.reads[task]]
            outputs[task] = self.heads[task](mix(self.gates[task](x), features))
        return outputs
