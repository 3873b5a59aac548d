"""Which layer feeds which, as far as torch.fx can follow the Python code of a model."""

from __future__ import annotations

import copy
import inspect
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from tssbn.recognise import is_norm

__all__ = ["Wiring"]

KEEP_FLAT = (nn.Linear, nn.BatchNorm1d, nn.Identity, nn.Dropout, nn.ReLU)
QUESTIONS = {"shape", "dtype", "device", "ndim", "size", "dim"}  # a tensor's, not its values


class Wiring:
    """How the convolutions, linear layers and norm layers of a model are connected.

    The model runs once without numbers (:class:`torch.fx.Tracer`), on a copy. Where its code cannot
    be followed without them, the innermost module whose code it is remains a closed box.

    Attributes:
        called: names of the layers that are called, in order.
        closed: what could not be followed, and why, by name; "" is the model itself.

    Example:
        >>> wiring = Wiring(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)))
        >>> wiring.source("1"), wiring.readers("1"), wiring.closed
        ('0', ['2'], {})
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._volumes = any(isinstance(module, nn.Conv3d) for module in model.modules())
        tracer = _Tracer()
        nodes: list[fx.Node] = []
        try:
            defaults = inspect.signature(model.forward).parameters.values()
            fixed = {p.name: p.default for p in defaults if p.default is not p.empty}
            nodes = list(tracer.trace(copy.deepcopy(model), fixed).nodes)
        except Exception as error:  # whatever a forward trips over when tensors have no values
            tracer.closed[""] = error
        self.closed = tracer.closed
        self._nodes = defaultdict(list)
        for node in nodes:
            if node.op == "call_module":
                self._nodes[node.target].append(node)
        self.called = list(self._nodes)
        read = {n.target.rpartition(".")[0] for n in nodes if n.op == "get_attr" and n.users}
        owners = Counter(id(p) for module in model.modules() for p in module._parameters.values())

        def plain(name: str) -> bool:
            layer = model.get_submodule(name)
            return (
                len(self._nodes[name]) == 1
                and not (layer._forward_hooks or layer._forward_pre_hooks)
                and name not in read
                and all(owners[id(p)] == 1 for p in layer.parameters())
                and not any(name.startswith(f"{box}.") for box in self.closed)
            )

        # Those to which nothing else happens than being called, once.
        self._plain = {name for name in self.called if plain(name)}

    def source(self, name: str) -> str | None:
        """The layer whose output goes into this one and nowhere else, or None."""
        if name not in self._plain:
            return None
        (node,) = self._nodes[name]
        inputs = node.all_input_nodes
        if len(inputs) != 1 or inputs[0].op != "call_module":
            return None
        source = inputs[0]
        alone = source.target in self._plain and _readers(source) == [node]
        return source.target if alone else None

    def is_flat(self, name: str) -> bool:
        """Whether what a layer reads is certain to have two dimensions, (N, C)."""
        node = self._nodes[name][0]
        while len(node.all_input_nodes) == 1:
            (node,) = node.all_input_nodes
            if node.op == "call_module":
                module = self._model.get_submodule(node.target)
                if isinstance(module, nn.Flatten):
                    return (module.start_dim, module.end_dim) == (1, -1)
                if not isinstance(module, KEEP_FLAT):
                    return False
            elif node.target in (torch.flatten, "flatten"):
                return (*node.args[1:], *node.kwargs.values()) == (1,)
            elif node.target == "mean":  # over the pixels of (N, C, H, W)
                return not self._volumes and [*node.args[1:], *node.kwargs.values()] == [(2, 3)]
            elif node.target not in (F.relu, torch.relu, F.dropout):
                return False
        return False

    def readers(self, name: str) -> list[str] | None:
        """The layers that read this one's output, or None if anything else does."""
        if name not in self._plain:
            return None
        (node,) = self._nodes[name]
        nodes = _readers(node)
        layers = all(n.op == "call_module" and n.all_input_nodes == [node] for n in nodes)
        if not layers or not all(n.target in self._plain for n in nodes):
            return None
        return [n.target for n in nodes]


class _Tracer(fx.Tracer):
    """Goes into every module but layers, and comes out again where it cannot go on."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: dict[str, Exception] = {}

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        layer = is_norm(module) or isinstance(module, (_ConvNd, nn.Linear))
        return layer or super().is_leaf_module(module, name)

    def call_module(self, module: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        stack = self.module_stack.copy()
        try:
            return super().call_module(module, forward, args, kwargs)
        except Exception as error:
            name = self.path_of_module(module)
            self.closed[name] = error
            self.module_stack.clear()
            self.module_stack.update(stack)
            return self.create_proxy("call_module", name, args, kwargs)


def _readers(node: fx.Node) -> list[fx.Node]:
    """The nodes that use the values of this one, not only its shape."""

    def asks(user: fx.Node) -> bool:
        if user.op == "call_function" and user.target is getattr:
            return user.args[1] in QUESTIONS
        return user.op == "call_method" and user.target in QUESTIONS

    return [user for user in node.users if not asks(user)]
