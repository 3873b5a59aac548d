"""Passes that part late: a network in which tasks share what their norm layers agree on.

T tasks make T passes through one trunk. Where two tasks have the same norm layers from the input
up to some point, their passes are one computation up to there. A *tree* says where they part: for
each norm layer the groups of tasks that share it. :func:`branches` unrolls the trunk along a tree,
into a plain network that computes whatever is common once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import fx, nn
from torch.fx.node import map_arg

from tssbn.export.plain import mean_norm
from tssbn.export.tracing import layer_name, traced
from tssbn.multitask import MultiTask

__all__ = ["branches", "refine"]

Partition = tuple[tuple[str, ...], ...]  # groups of tasks; every task is in one of them
Tree = Mapping[str, Partition]  # by the name of a norm layer of the trunk


def branches(net: MultiTask, tree: Tree, example: Any = None) -> fx.GraphModule:
    """Unroll a network along a tree: what is the same for several tasks is computed once.

    Every value of the trunk has a partition of the tasks. That of the input is one group; that of
    any other value is the common refinement of the partitions of all it is computed from and, where
    a norm layer puts it out, of that layer's in the tree. It is computed once for each group. So
    residual streams, skips and the indices of poolings part where they have to, and what comes
    before the first split runs once for all.

    A group's norm layer is an ordinary one. Its scale, bias, running mean and running variance are
    the means over the members: it sees one stream of activations, somewhere between theirs, and not
    a mixture of them, whose variance would have that of the means on top. From the second merged
    layer on these statistics are a guess; :func:`torch.optim.swa_utils.update_bn` with training
    images puts in their place those that the network has.

    Everything else stays one module with its parameters, called once for each group. Modules
    without a task-specific layer keep their own class; of the others only the steps remain, as they
    are taken in the present mode of the trunk (``if self.training:`` is decided now).

    Args:
        net: a network with task-specific norm layers.
        tree: groups of tasks for norm layers of the trunk, by name. A layer that is not named
            splits nothing. With every task alone in the first layer the outputs are those of
            ``net``; with ``{}`` one pass serves all heads.
        example: an input, for a trunk whose code asks for sizes or values, as those of
            transformers do: it answers. What the code decides by it, such as the size of the
            images, is decided for good; the number of images stays open where the code lets it.

    Returns:
        A network of its own in the same mode, with copies of the parameters. It maps the trunk's
        input to the outputs by task and can be trained, pickled and exported; of this package there
        is nothing in it but what heads and leaf modules are. The norm layer of a group is called
        ``trunk.<layer>.<task>+<task>``.

    Raises:
        TypeError: ``net`` is no `tssbn.MultiTask`.
        ValueError: the network has no task-specific layer, the tree names unknown layers or its
            groups are no partition of the tasks, a task has "+" in its name, or torch.fx cannot
            follow the trunk, as where a branch depends on values and there is no example; names the
            module.

    Example:
        >>> import torch, tssbn
        >>> from torch import nn
        >>> trunk = nn.Sequential(
        ...     nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        ... )
        >>> heads = {task: nn.Conv2d(4, 1, 1) for task in ("seg", "depth", "normal")}
        >>> net = tssbn.MultiTask(tssbn.task_specific(trunk, heads), heads).eval()
        >>> merged = branches(net, {"1": (("seg", "depth"), ("normal",))})
        >>> [name for name, layer in merged.named_modules() if isinstance(layer, nn.BatchNorm2d)]
        ['trunk.1.seg+depth', 'trunk.1.normal', 'trunk.3.seg+depth', 'trunk.3.normal']
        >>> list(merged(torch.rand(2, 3, 9, 9)))
        ['seg', 'depth', 'normal']
    """
    root, graph, layers = traced(net, example)
    check_tree(tree, net.tasks, layers)
    if awkward := [task for task in net.tasks if "+" in task]:
        raise ValueError(f"tasks {awkward} have '+' in the name, which joins those of a group")

    new = fx.Graph()
    values: dict[fx.Node, dict[tuple[str, ...], fx.Node]] = {}  # what became of a node, by group
    groups_of = {name: nn.Module() for name in layers}
    for node in graph.nodes:
        if node.op == "output":
            break
        partition: Partition = (net.tasks,)
        for source in node.all_input_nodes:
            partition = refine(partition, tuple(values[source]))
        layer = layer_name(node) if node.op == "call_module" else None
        if layer in layers:
            partition = refine(partition, tree.get(layer, (net.tasks,)))
        values[node] = {}
        for group in partition:
            values[node][group] = one = new.node_copy(node, _serving(group, values))
            if layer in layers:
                one.target = f"{node.target}.{'+'.join(group)}"
                groups_of[layer].add_module("+".join(group), mean_norm(layers[layer], group))
        target = _changed_in_place(node, root)
        if target is not None and len(partition) > len(values[target]):
            for group, one in values[node].items():  # each group changes a copy of its own
                common = _serving(group, values)(target)
                with new.inserting_before(one):
                    one.replace_input_with(common, new.call_method("clone", (common,)))
            values[target] = values[node]

    (features,) = node.args
    outputs = {}
    for task in net.tasks:
        own = map_arg(features, _serving((task,), values))
        if _writes(root.heads[task]):
            own = map_arg(own, lambda node: new.call_method("clone", (node,)))
        outputs[task] = new.call_module(f"heads.{task}", (own,))
    new.output(outputs)
    for layer, of_groups in groups_of.items():
        root.set_submodule(f"trunk.{layer}".rstrip("."), of_groups)
    return fx.GraphModule(root, new, class_name="Branches")


def refine(one: Partition, other: Partition) -> Partition:
    """Refine two partitions into one: two tasks stay together if they are so in both.

    Example:
        >>> refine((("a", "b", "c"), ("d",)), (("a",), ("b", "c", "d")))
        (('a',), ('b', 'c'), ('d',))
    """
    meets = (tuple(task for task in group if task in set(by)) for group in one for by in other)
    return tuple(group for group in meets if group)


def check_tree(tree: Tree, tasks: tuple[str, ...], layers: Iterable[str]) -> None:
    """Refuse unknown layers, and groups that are no partition of the tasks."""
    if unknown := [name for name in tree if name not in layers]:
        raise ValueError(
            f"tree names {unknown}: the task-specific layers of the trunk are {list(layers)}"
        )
    for name, partition in tree.items():
        groups = [() if isinstance(group, str) else tuple(group) for group in partition]
        if not all(groups) or sorted(sum(groups, ())) != sorted(tasks):
            raise ValueError(
                f"tree[{name!r}]={partition!r} must be groups, tuples of names, in which each of "
                f"the tasks {list(tasks)} is once"
            )


def _changed_in_place(node: fx.Node, root: nn.Module) -> fx.Node | None:
    """What a step writes to, if it is its first input."""
    if node.op == "call_module":
        changes = getattr(root.get_submodule(node.target), "inplace", False)
    elif node.op == "call_method":
        changes = node.target.endswith("_")
    else:
        name = getattr(node.target, "__name__", "")
        changes = node.kwargs.get("inplace") or name.endswith("_")
    first = node.args[0] if node.args else None
    return first if changes and isinstance(first, fx.Node) else None


class _Proxy(fx.Proxy):
    """Refuses ``x += y`` and its like, which other proxies take for ``x + y``."""


def _refuse(self: fx.Proxy, other: Any) -> None:
    raise TypeError("changes a value in place")


AUGMENTED = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
for _name in AUGMENTED.split():
    setattr(_Proxy, f"__i{_name}__", _refuse)


class _HeadTracer(fx.Tracer):
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)


def _writes(head: nn.Module) -> bool:
    """Whether it may change its input in place; what torch.fx cannot follow may."""
    if any(getattr(part, "inplace", False) for part in head.modules()):
        return True
    try:
        graph = _HeadTracer().trace(head)
    except Exception:  # whatever a forward trips over when tensors have no values
        return True
    steps = [node for node in graph.nodes if node.op.startswith("call_")]
    return any(_changed_in_place(node, head) is not None for node in steps)


def _serving(group: tuple[str, ...], values: Mapping) -> Callable[[fx.Node], fx.Node]:
    """Find what became of a node for a group: the copy for the larger group it lies in."""

    def pick(node: fx.Node) -> fx.Node:
        return next(new for tasks, new in values[node].items() if group[0] in tasks)

    return pick
