"""DSelect-k: MMoE whose gates select a few experts, by bits that training drives to 0 or 1.

(Hazimeh et al., arXiv 2106.03760.) Each of the K experts i has a binary code c_i of m = ⌈log2 K⌉
bits. A gate has k slots; slot s has a logit z_sb for each bit b, and the share softmax(v)_s of the
mixture. With the smooth step S, a cubic that is 0 up to -γ/2 and 1 from γ/2 on,

    r_s[i] = Π_b (S(z_sb) if c_ib else 1 - S(z_sb)),        p_i = Σ_s softmax(v)_s · r_s[i]

and p_i is the weight of expert i. Once its bits are 0 or 1, a slot selects a single expert. z and v
are linear in the input, or trained numbers of the task. A penalty, which the trainer adds to the
loss, lowers the entropy of each slot and, where K is no power of two, keeps the slots away from
codes that no expert has.

In LibMTL's code γ only affects the start values, and the gradient of the penalty is erased before
the step; here both follow the paper. The start values are LibMTL's. With them most bits of a gate
that reads the whole image start at 0 or 1, where the slope of S is 0, and are not trained.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tssbn.methods import Method, Network, heads
from tssbn.methods.experts import GATES, Experts, check_gate, linear

__all__ = ["DSelectK", "Selector", "build", "smooth_step"]

KINDS = (*GATES, "static")
TINY = 1e-6  # where a slot reads no expert, or a logarithm would have an infinite slope


def smooth_step(u: Tensor, width: float = 1.0) -> Tensor:
    """Compute the smooth step S, which rises from 0 to 1 within half the width around 0.

    It is -2u³/γ³ + 3u/(2γ) + 1/2 for ``|u| ≤ γ/2``, and constant outside (Hazimeh et al., arXiv
    2106.03760).

    Args:
        u: of any shape.
        width: γ.

    Example:
        >>> smooth_step(torch.tensor([-0.6, -0.25, 0.0, 0.25, 0.5]))
        tensor([0.0000, 0.1562, 0.5000, 0.8438, 1.0000])
    """
    u = u.clamp(-width / 2, width / 2) / width
    return u * (1.5 - 2 * u.square()) + 0.5


class _Static(nn.Module):
    """Trained numbers that do not depend on the image."""

    def __init__(self, outputs: int):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.repeat(len(x), 1)


class Selector(nn.Module):
    """A gate whose weights of the experts are mostly 0 once it is trained.

    Args:
        gate: what z and v are linear in, ``"pooled"`` or ``"image"`` (see
            :mod:`tssbn.methods.experts`); with ``"static"`` they do not depend on the input.
        shape: of one input.
        experts: the number K of experts, 2 or more.
        slots: the number k of slots, the largest number of experts that are selected.
        smooth: the width γ of the step.

    Shape: (B, ...) -> (B, experts).

    Raises:
        ValueError: there is no such gate.

    Attributes:
        slots_read: r of the last pass, (B, slots, experts).

    Example:
        >>> gate = Selector("static", (3,), experts=4, slots=1)
        >>> _ = gate.bits.bias.data.copy_(torch.tensor([1.0, 1.0]))
        >>> gate(torch.rand(1, 3))
        tensor([[0., 0., 0., 1.]], grad_fn=<SumBackward1>)
    """

    def __init__(
        self, gate: str, shape: Sequence[int], experts: int, slots: int = 2, smooth: float = 1.0
    ):
        super().__init__()
        check_gate(gate, KINDS)
        self.slots, self.smooth = slots, smooth
        length = (experts - 1).bit_length()
        places = torch.arange(length - 1, -1, -1)  # the most significant bit first
        self.register_buffer("codes", ((torch.arange(experts)[:, None] >> places) & 1).bool())

        def numbers(outputs: int) -> nn.Module:
            return _Static(outputs) if gate == "static" else linear(gate, shape, outputs)

        self.bits, self.shares = numbers(slots * length), numbers(slots)
        for part, bound in (self.bits, smooth / 100), (self.shares, 0.05):
            for parameter in part.parameters():
                nn.init.uniform_(parameter, -bound, bound)
        self.slots_read: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        bits = smooth_step(self.bits(x), self.smooth).unflatten(1, (self.slots, 1, -1))
        self.slots_read = torch.where(self.codes, bits, 1 - bits).prod(-1)
        return (self.shares(x).softmax(1)[:, :, None] * self.slots_read).sum(1)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "slots_read": None}  # it has a graph, which cannot be copied


class DSelectK(Experts):
    """MMoE with selectors as gates, and their penalty.

    Args:
        args: as for :class:`~tssbn.methods.experts.Experts`, with a :class:`Selector` for each
            task as its gate.
        entropy: the factor λ of the entropy of the slots.

    Example:
        >>> trunks = [nn.Linear(4, 3), nn.Linear(4, 3)]
        >>> gate, head = Selector("static", (4,), experts=2, slots=1), nn.Linear(3, 1)
        >>> net = DSelectK(trunks, {"a": [0, 1]}, {"a": gate}, {"a": head}, entropy=1.0)
        >>> _ = gate.bits.bias.data.fill_(0.0)  # S(0) is 1/2
        >>> _ = net(torch.zeros(2, 4))
        >>> net.penalty()  # log 2
        tensor(0.6931, grad_fn=<AddBackward0>)
    """

    def __init__(self, *args: Any, entropy: float = 1e-6):
        super().__init__(*args)
        self.entropy = entropy

    def penalty(self) -> Tensor:
        """Compute the penalty of the last pass, summed over tasks and slots.

        That of a slot is the mean over the images of λ times its entropy and, where K is no power
        of two, of 1 / Σ_i r_s[i].
        """
        total = 0.0
        for gate in self.gates.values():
            r = gate.slots_read
            entropy = -(r * (r + TINY).log()).sum((1, 2)).mean()
            total = total + self.entropy * entropy
            experts = r.shape[2]
            if experts & (experts - 1):
                total = total + r.sum(2).clamp_min(TINY).reciprocal().sum(1).mean()
        return total


def build(
    network: Network,
    outputs: Mapping[str, int],
    experts: int = 2,
    slots: int = 2,
    gate: str = "pooled",
    smooth: float = 1.0,
    entropy: float = 1e-6,
) -> DSelectK:
    """Build the experts, and a selector and a head for each task.

    Args:
        network, outputs: as for :class:`tssbn.methods.Method`.
        experts: the number K of trunks.
        slots: the number k of slots, the largest number of experts that a task selects.
        gate: what the gates read: ``"pooled"``, the means of the input's channels; ``"image"``, all
            its values, as in LibMTL; ``"static"``, nothing.
        smooth: the width γ of the step.
        entropy: the factor λ of the entropy of the slots.

    Raises:
        ValueError: there are fewer than two experts or no slot, `smooth` is not positive, `entropy`
            is negative, or there is no such gate.

    Example:
        >>> network = Network(lambda: nn.Linear(4, 3), lambda n: nn.Linear(3, n), torch.zeros(2, 4))
        >>> net = build(network, {"seg": 3, "depth": 1}, gate="static")
        >>> {task: tuple(y.shape) for task, y in net(torch.zeros(2, 4)).items()}
        {'seg': (2, 3), 'depth': (2, 1)}
    """
    for name, value, least in ("experts", experts, 2), ("slots", slots, 1):
        if value < least:
            raise ValueError(f"{name}={value} must be {least} or more")
    if not smooth > 0:
        raise ValueError(f"smooth={smooth} must be positive")
    if not entropy >= 0:
        raise ValueError(f"entropy={entropy} must be 0 or more")
    trunks, readers = [network.trunk() for _ in range(experts)], heads(network, outputs)
    shape = network.example.shape[1:]
    gates = {task: Selector(gate, shape, experts, slots, smooth) for task in outputs}
    reads = dict.fromkeys(outputs, range(experts))
    return DSelectK(trunks, reads, gates, readers, entropy=entropy)


METHOD = Method("DSelect-k", build)
