"""PLE: CGC at every stage of the trunk.

(Progressive layered extraction; Tang et al., RecSys 2020.) All experts have the same stages. With
the stage S_l^k of expert k, task t mixes the outputs of the shared experts and of its experts,

    z_{t,l+1} = Σ_k softmax(W_{t,l} z_{t,l})_k · S_l^k(z_{t,l}),        z_{t,0} the image

and its head reads the last z_t. There are two forms:

* As in LibMTL's code and in table 2 of arXiv 2512.20420, every task sends its mixture z_t through
  the shared experts. With T tasks these run T times, and the running statistics of their BatchNorm
  layers are a mixture. The mixture of one task never enters that of another.
* As in the paper, with ``shared_gate=True``: after every stage but the last, a further gate over
  all experts computes the next input of the shared experts, so that these run once.

With all weight on one shared expert it is HPS, with all weight on an expert of the task STL, and
with a trunk of a single stage CGC.
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
    """Experts with stages, and for each task a gate after each stage, and a head.

    Args:
        common: the shared experts, trunks with the same stages.
        own: the experts of each task.
        gates: for each task, a gate for each stage, which maps the input of the stage to weights
            (B, K) of the shared experts and those of the task, in this order.
        heads: a module for each task.
        shared_gates: for each stage but the last, a gate over all experts: the shared ones, then
            those of each task. Without them each task sends its mixture through the shared experts.
        last: names of the parameters of a trunk that only its last stage uses.

    Example:
        >>> from torch.nn import Linear
        >>> trunks = [nn.Sequential(Linear(3, 3), Linear(3, 3)) for _ in range(2)]
        >>> gates = {"a": [softmax("pooled", (3,), 2), softmax("pooled", (3,), 2)]}
        >>> net = PLE(trunks[:1], {"a": trunks[1:]}, gates, {"a": Linear(3, 1)})
        >>> net(trunks[0][0].weight)["a"].shape
        torch.Size([3, 1])
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
        """Yield all tasks at once, because they share experts."""
        yield self.tasks

    def shared(self) -> list[nn.Parameter]:
        """List the parameters of the shared experts; with shared gates also all that feed them."""
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
        """Predict the named tasks, all by default; with shared gates all run in any case.

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
        """Compute the input of a task's head where it sends its mixture through all its experts."""
        runs = [stages(trunk, x) for trunk in (*self.common, *self.own[task])]
        sent = None
        for gate in self.gates[task]:
            x = sent = mix(gate(x), [run.send(sent) for run in runs])
        return x

    def _together(self, x: Tensor) -> dict[str, Tensor]:
        """Compute the inputs of all heads where every expert runs once."""
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
        network, outputs: as for :class:`tssbn.methods.Method`.
        shared_experts: number of trunks that all tasks share.
        own_experts: number of further trunks for each task.
        gate: what the gates read: ``"pooled"``, the means of the channels of the stage's input, or
            ``"image"``, all its values, as in LibMTL; see :mod:`tssbn.methods.experts`.
        shared_gate: whether there is a gate for the inputs of the shared experts, as in the paper.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the stages of such a trunk are not known, or one
            before the last outputs anything but one tensor.
        ValueError: a task would have no expert, there is no such gate, or `shared_gate` is True
            without shared experts.

    Example:
        >>> import torch
        >>> def trunk():
        ...     return nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> network = Network(trunk, lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> net = build(network, {"seg": 3, "depth": 1})
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 4)).items()}
        {'seg': (2, 3), 'depth': (2, 1)}
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
