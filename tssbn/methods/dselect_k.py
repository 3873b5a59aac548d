"""DSelect-k: MMoE whose gates select a few experts, by bits that training drives to 0 or 1.

(Hazimeh et al., arXiv 2106.03760.) Expert i has the binary code c_i of m = ⌈log2 K⌉ bits. A gate
has k slots; slot s has numbers z_s, one for each bit, and a share of the mixture, a softmax of v.
With the smooth step S, a cubic that is 0 up to -γ/2 and 1 from γ/2 on,

    r_s[i] = Π_b (S(z_sb) if c_ib else 1 - S(z_sb)),        p_i = Σ_s softmax(v)_s · r_s[i]

is the weight of expert i: once its bits are saturated a slot reads one expert alone. z and v are
linear in the input, or numbers of the task. A penalty, which the trainer adds to the loss, draws
the slots to one expert each (their entropy), and, where K is no power of two, away from the codes
that no expert has.

LibMTL's code gives γ to the start values alone, and its penalty is lost before it reaches the
weights; here both do what the paper says. The start values are LibMTL's: with them most bits of a
gate of the whole image are saturated from the beginning, and do not learn.
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
    """A step from 0 to 1, cubic within half the width of 0 and flat outside.

    Example:
        >>> smooth_step(torch.tensor([-0.6, -0.25, 0.0, 0.25, 0.5]))
        tensor([0.0000, 0.1562, 0.5000, 0.8438, 1.0000])
    """
    u = u.clamp(-width / 2, width / 2) / width
    return u * (1.5 - 2 * u.square()) + 0.5


class _Static(nn.Module):
    """The same numbers for all images."""

    def __init__(self, outputs: int):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.repeat(len(x), 1)


class Selector(nn.Module):
    """The gate: weights of the experts, of which few are not 0.

    Args:
        gate: what z and v are linear in: ``"pooled"`` or ``"image"``, see
            :mod:`tssbn.methods.experts`, or ``"static"``, nothing.
        shape: of one input.
        experts: how many, 2 or more.
        slots: how many of them are read at most.
        smooth: the width γ of the step.

    Shape: (B, ...) -> (B, experts).

    Attributes:
        slots_read: what each slot reads of each expert in the last pass, (B, slots, experts).

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
        experts, reads, gates, heads: as of :class:`~tssbn.methods.experts.Experts`.
        entropy: what the entropy of the slots is multiplied with.
    """

    def __init__(self, *args: Any, entropy: float = 1e-6):
        super().__init__(*args)
        self.entropy = entropy

    def penalty(self) -> Tensor:
        """Of all tasks and slots, the mean over the images of the last pass.

        λ times the entropy of a slot; and, where K is no power of two, 1 / Σ_i r_s[i].
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
        experts: how many trunks.
        slots: how many of them a task reads at most.
        gate: what the gates read: ``"pooled"``, the means of the input's channels; ``"image"``, all
            its values, as in LibMTL; ``"static"``, nothing: they are numbers of the task.
        smooth: γ, the width of the step.
        entropy: λ, what the entropy of the slots is multiplied with.

    Raises:
        ValueError: there are fewer than two experts, or no slot; or no such gate.
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
