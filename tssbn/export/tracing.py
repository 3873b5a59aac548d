"""The steps of a trunk, as torch.fx follows them.

Code that asks a value, as ``if x.shape[2] > 32:`` does, gets no answer from torch.fx. With an
example every step is computed beside, and what the code asks is answered from that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any
from unittest.mock import patch

import torch
from torch import fx, nn
from torch.fx.node import map_aggregate

from tssbn.copies import copied
from tssbn.export.plain import strip_hooks
from tssbn.multitask import MultiTask
from tssbn.norm import TaskSpecificNorm
from tssbn.tasks import TaskSpecific, find_tasks, select

__all__ = ["layer_name", "traced"]

CALL, GET = nn.Module.__call__, nn.Module.__getattr__  # as they are while nothing is traced


def traced(
    net: MultiTask, example: Any = None
) -> tuple[nn.Module, fx.Graph, dict[str, TaskSpecificNorm]]:
    """Copy trunk and heads, and follow the trunk; see :func:`tssbn.export.branches`.

    Returns:
        The copy, the graph of its trunk, and its task-specific norm layers in the order they run.
    """
    if not isinstance(net, MultiTask):
        kind = type(net).__name__
        raise TypeError(f"net must be a tssbn.MultiTask, got an object of type {kind}")
    if not find_tasks(net.trunk):
        raise ValueError("the trunk has no task-specific layer: one pass serves all tasks as it is")
    root = _TrunkAndHeads(copied(net))
    strip_hooks(root.trunk)
    tracer = _Tracer() if example is None else _ExampleTracer(example)
    try:
        with select(root.trunk, net.tasks[0]):  # whose rows compute the example's values
            graph = tracer.trace(root)
    except Exception as error:  # whatever a forward trips over when tensors have no values
        hint = "" if example is not None else ". An example input (example=x) answers what it asks"
        raise ValueError(
            f"torch.fx cannot follow {tracer.inside}: {' '.join(str(error).split())}{hint}"
        ) from error
    calls = graph.find_nodes(op="call_module")
    called = {layer_name(node): root.get_submodule(node.target) for node in calls}
    layers = {name: part for name, part in called.items() if isinstance(part, TaskSpecificNorm)}
    others = {n: p for n, p in called.items() if isinstance(p, TaskSpecific) and n not in layers}
    if others:
        raise ValueError(
            f"task-specific modules {list(others)} are no norm layers, which alone can be merged"
        )
    return root, graph, layers


def layer_name(node: fx.Node) -> str:
    """Tell the name within the trunk of the module that is called; "" is the trunk."""
    return node.target.removeprefix("trunk").removeprefix(".")


class _TrunkAndHeads(nn.Module):
    def __init__(self, net: MultiTask):
        super().__init__()
        self.trunk, self.heads = net.trunk, net.heads
        self.training = net.training

    def forward(self, x: Any) -> Any:
        return self.trunk(x)


class _Tracer(fx.Tracer):
    """Looks into modules as far as there are task-specific layers in them."""

    inside = "the trunk"  # where it is, for messages

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, TaskSpecific) or not find_tasks(module)

    def call_module(self, module: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        around = self.inside
        self.inside = f"{self.path_of_module(module)!r}, a {type(module).__name__}"
        value = super().call_module(module, forward, args, kwargs)
        self.inside = around
        return value


class _ExampleTracer(_Tracer):
    """Computes every step on an example, too, whose sizes and values answer what code asks."""

    proxy_buffer_attributes = True

    def __init__(self, example: Any):
        super().__init__()
        self.example = example

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _ExampleProxy(node, self)

    def create_proxy(
        self, kind: str, target: Any, args: tuple, kwargs: dict, *names: Any, **more: Any
    ) -> fx.Proxy:
        proxy = super().create_proxy(kind, target, args, kwargs, *names, **more)
        args, kwargs = (map_aggregate(part, _value) for part in (args, kwargs))
        with torch.no_grad(), patch.multiple(nn.Module, __call__=CALL, __getattr__=GET):
            proxy.value = self._compute(kind, target, args, kwargs)
        return proxy

    def _compute(self, kind: str, target: Any, args: tuple, kwargs: dict) -> Any:
        if kind == "placeholder":
            return self.example
        if kind == "get_attr":
            return attrgetter(target)(self.root)
        if kind == "call_function":
            return target(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        module = self.root.get_submodule(target)
        twin = copied(module)  # its statistics must stay
        if isinstance(module, TaskSpecific):
            twin.tasks = module.tasks
        return twin(*args, **kwargs)

    def to_bool(self, proxy: fx.Proxy) -> bool:
        return bool(proxy.value)

    def iter(self, proxy: fx.Proxy) -> Iterator:
        return iter([proxy[i] for i in range(len(proxy.value))])

    def keys(self, proxy: fx.Proxy) -> Any:
        return proxy.value.keys()


class _ExampleProxy(fx.Proxy):
    """A value of the graph that knows what it is for the example."""

    value: Any = None

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.value, name)
        if isinstance(value, str):  # x.device.type: for torch.autocast, which takes no stand-in
            return value
        if callable(value):
            return lambda *args, **kwargs: self.tracer.create_proxy(
                "call_method", name, (self, *args), kwargs
            )
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def __len__(self) -> int:
        return len(self.value)

    def __index__(self) -> int:
        return self.value.__index__()

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __contains__(self, item: Any) -> bool:
        return item in self.value


def _value(arg: Any) -> Any:
    return arg.value if isinstance(arg, _ExampleProxy) else arg
