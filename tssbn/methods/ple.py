"""PLE: CGC at every stage of the trunk.

(Progressive layered extraction; Tang et al., RecSys 2020.) All experts are cut into the same
stages. After each, task t mixes what the shared experts and its own gave; the mixture is what it
reads next, and its last one is what its head reads. A gate sees what the stage reads.

* As in LibMTL's code (and in table 2 of arXiv 2512.20420), every task sends its own mixture through
  the shared experts: with T tasks these run T times, and their BatchNorm layers have the running
  statistics of a mixture. Nothing shared ever sees what another task chose.
* As in the paper, with ``shared_gate``: after every stage but the last, a gate of all experts makes
  what the shared experts read next, so that these run once.

With all weight on one shared expert it is HPS, with all on an own one STL; a trunk of a single
stage makes it CGC.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from torch import Tensor, nn

from tssbn.methods import Method, Network, heads
from tssbn.methods.cgc import check_numbers
from tssbn.methods.experts import mix, softmax
from tssbn.names import check_tasks, choose_tasks
from tssbn.networks.stages import find_stages, stages

__all__ = ["PLE", "build"]


class PLE(nn.Module):
    """Experts in stages, and for each task gates after each stage, and a head.

    Args:
        common: the shared experts, trunks of the same stages.
        own: the experts of each task.
        gates: for each task, a gate for each stage: of what the stage reads, (B, K) weights of the
            shared experts and the task's own, in this order.
        heads: a module for each task.
        shared_gates: for each stage but the last, a gate of all experts: the shared ones, then
            those of each task. Without them each task sends its mixture through the shared experts.
        last: names of the parameters of a trunk that only its last stage uses.
    """

    def __init__(
        self,
        common: Iterable[nn.Module],
        own: Mapping[str, Iterable[nn.Module]],
        gates: Mapping[str, Iterable[nn.Module]],
        heads: Mapping[str, nn.Module],
        shared_gates: Iterable[nn.Module] = (),
        last: Iterable[str] = (),
    ):
        super().__init__()
        self.tasks = check_tasks(heads)
        self.common = nn.ModuleList(common)
        self.own = nn.ModuleDict({task: nn.ModuleList(own[task]) for task in self.tasks})
        self.gates = nn.ModuleDict({task: nn.ModuleList(gates[task]) for task in self.tasks})
        self.heads = nn.ModuleDict(heads)
        self.shared_gates = nn.ModuleList(shared_gates)
        self.last = tuple(last)

    tasks_per_pass = None  # all share the experts

    def passes(self) -> Iterator[tuple[str, ...]]:
        """All tasks at once: they share experts."""
        yield self.tasks

    def shared(self) -> list[nn.Parameter]:
        """Those of the shared experts; with shared gates, all from which a way leads to them."""
        if len(self.tasks) == 1:
            return []
        found = list(self.common.parameters())
        if self.shared_gates:
            found += self.shared_gates.parameters()
            for gates in self.gates.values():
                found += [p for gate in gates[:-2] for p in gate.parameters()]
            for trunk in chain(*self.own.values()):
                behind = {id(trunk.get_parameter(name)) for name in self.last}
                found += [p for p in trunk.parameters() if id(p) not in behind]
        return found

    def forward(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Predictions of the named tasks, all by default; with shared gates all run in any case.

        Raises:
            ValueError: a task is unknown or named twice, or none is named.
        """
        names = self.tasks if tasks is None else choose_tasks(tasks, self.tasks)
        if self.shared_gates:
            features = self._together(x)
        else:
            features = {task: self._alone(task, x) for task in names}
        return {task: self.heads[task](features[task]) for task in names}

    def _alone(self, task: str, x: Tensor) -> Tensor:
        """What the head of a task reads that sends its mixture through the shared experts."""
        runs = [stages(trunk, x) for trunk in (*self.common, *self.own[task])]
        sent = None
        for gate in self.gates[task]:
            x = sent = mix(gate(x), [run.send(sent) for run in runs])
        return x

    def _together(self, x: Tensor) -> dict[str, Tensor]:
        """What the heads read of experts that run once each."""
        common = [stages(trunk, x) for trunk in self.common]
        own = {task: [stages(trunk, x) for trunk in self.own[task]] for task in self.tasks}
        reads, shared = dict.fromkeys(self.tasks, x), x
        sent, sent_shared = dict.fromkeys(self.tasks), None
        for level, gates in enumerate(zip(*self.gates.values(), strict=True)):
            given = [run.send(sent_shared) for run in common]
            theirs = {task: [run.send(sent[task]) for run in own[task]] for task in self.tasks}
            if level < len(self.shared_gates):
                weights = self.shared_gates[level](shared)
                shared = sent_shared = mix(weights, [*given, *chain(*theirs.values())])
            for task, gate in zip(self.tasks, gates, strict=True):
                reads[task] = sent[task] = mix(gate(reads[task]), [*given, *theirs[task]])
        return reads


def build(
    network: Network,
    outputs: Mapping[str, int],
    shared_experts: int = 1,
    own_experts: int = 1,
    gate: str = "pooled",
    shared_gate: bool = False,
) -> PLE:
    """Build the experts, and gates and a head for each task.

    Args:
        shared_experts: how many trunks all tasks read.
        own_experts: how many trunks each task has for itself.
        gate: what the weights are linear in: ``"pooled"``, the means of the channels that the stage
            reads, or ``"image"``, all its values, as in LibMTL; see :mod:`tssbn.methods.experts`.
        shared_gate: whether the shared experts have a gate of their own, as in the paper.

    Raises:
        UnsuitableTrunk: it is not known where such a trunk is to be cut into stages, or one before
            the last gives something else than a tensor.
        ValueError: a task would have no expert, there is no such gate, or a shared gate without
            shared experts.
    """
    check_numbers(shared_experts, own_experts)
    if shared_gate and not shared_experts:
        raise ValueError("shared_gate=True needs shared experts, got shared_experts=0")
    tasks = check_tasks(outputs)
    common = [network.trunk() for _ in range(shared_experts)]
    own = {task: [network.trunk() for _ in range(own_experts)] for task in tasks}
    readers = heads(network, outputs)
    found = find_stages([*common, *own[tasks[0]]][0], network.example)
    shapes = [network.example.shape[1:], *(stage.shape for stage in found[:-1])]

    def gates(shapes: Sequence[Sequence[int]], width: int) -> list[nn.Module]:
        return [softmax(gate, shape, width) for shape in shapes]

    mixing = {task: gates(shapes, shared_experts + own_experts) for task in tasks}
    everyone = shared_experts + own_experts * len(tasks)
    shared = gates(shapes[:-1], everyone) if shared_gate else []
    return PLE(common, own, mixing, readers, shared, sorted(found[-1].parameters))


METHOD = Method("PLE", build)
