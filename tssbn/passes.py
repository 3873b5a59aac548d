"""One pass of some tasks through a network, and the passes under way in a thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils._pytree import tree_map

from tssbn.stacking import count_images, stack, tensors

if TYPE_CHECKING:
    from tssbn.tasks import Tasks

__all__ = ["Pass", "PassesUnderWay"]


class PassesUnderWay(threading.local):
    """The passes under way in this thread, the innermost last."""

    def __init__(self):  # runs once in each thread; class attributes would upset torch.compile
        self.passes: tuple[Pass, ...] = ()


class Pass:
    """One pass of some tasks through a network; a context, whose state ends with it.

    Attributes:
        rows: The tasks that run, as a slice of a (T, ...) tensor.
        count: How many they are, t.
        images: B, where it is known; without it the rows of a task are taken for images.
        stem: The module in front of which the tasks part, as long as they have not: until then
            there are B rows for all of them.
        gates: (t, C), of a layer in the stem, to act where the tasks part; see `tssbn.stem`.
        recomputing: Whether a part is run again for its backward pass: statistics stay then.
    """

    def __init__(
        self,
        tasks: Tasks,
        start: int,
        stop: int,
        images: int | None = None,
        stem: str = "",
        recomputing: bool = False,
    ):
        self.tasks, self.images, self.recomputing = tasks, images, recomputing
        self.rows, self.count = slice(start, stop), stop - start
        self.stem = stem
        self.gates: Tensor | None = None

    def only(self, i: int) -> Pass:
        """A pass of the i-th of these tasks alone."""
        place = self.rows.start + i
        return Pass(self.tasks, place, place + 1, recomputing=self.recomputing)

    def again(self) -> Pass:
        """The same pass at this point, to run a part of it once more."""
        start, stop = self.rows.start, self.rows.stop
        twin = Pass(self.tasks, start, stop, self.images, self.stem, recomputing=True)
        twin.gates = self.gates
        return twin

    def __enter__(self) -> Pass:
        local = self.tasks._local
        local.passes = (*local.passes, self)
        return self

    def __exit__(self, *_: object) -> None:
        local = self.tasks._local
        if local.passes[-1] is not self:
            local.passes = tuple(one for one in local.passes if one is not self)
            raise RuntimeError("passes ended out of order: coroutines must not wait inside a pass")
        local.passes = local.passes[:-1]

    def part(self, tree: Any) -> Any:
        """The tasks part here: (B, ...) tensors become (B·t, ...), and gates that were due act."""
        gates, self.gates, self.stem = self.gates, None, ""
        if self.images not in (None, count_images(tree)):
            raise RuntimeError(
                f"the stem ends in {count_images(tree)} rows for {self.images} images: the tasks "
                "have to part before an image is cut into parts, declare another stem"
            )
        if gates is None:
            return stack(tree, self.count)
        if len(tensors(tree)) != 1:
            raise RuntimeError(
                f"the stem ends in {len(tensors(tree))} tensors, but the gates of a layer before "
                "it are due on one: declare another stem"
            )

        def gated(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            factors = gates.reshape(*gates.shape, *[1] * (x.ndim - 2))  # (t, C, 1, ...)
            return (x.unsqueeze(1) * factors).to(x.dtype).flatten(0, 1)

        return tree_map(gated, tree)
