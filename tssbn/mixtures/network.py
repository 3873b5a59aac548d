"""A multi-task network with routers, and a penalty on what these do."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from tssbn.mixtures.routing import Routed, Routes
from tssbn.multitask import MultiTask

__all__ = ["MixtureNetwork"]


class MixtureNetwork(MultiTask):
    """A trunk with routers of the tasks, and the sum of a penalty over all routers.

    The penalty looks at all tasks together, so that all are in every pass of the training, and
    ``tasks_per_pass`` stays None. Norm layers of the trunk that are not the tasks' own normalise
    the rows of all tasks together.

    Args:
        trunk, heads, stem: as of :class:`tssbn.MultiTask`.
        measure: ``measure(routes)``, a scalar for the :class:`~tssbn.mixtures.routing.Routes` of a
            router.
        weight: what the sum of the measures is multiplied with.
    """

    def __init__(
        self,
        trunk: nn.Module,
        heads: Mapping[str, nn.Module],
        measure: Callable[[Routes], Tensor],
        weight: float,
        stem: str = "",
    ):
        super().__init__(trunk, heads, stem=stem)
        self.measure, self.weight = measure, weight

    @property
    def tasks_per_pass(self) -> None:
        """None: all tasks are in every pass."""
        return None

    @tasks_per_pass.setter
    def tasks_per_pass(self, value: int | None) -> None:
        """Ignored."""

    def penalty(self) -> Tensor:
        """The weighted sum of what is measured at each router, of the last pass.

        Raises:
            RuntimeError: That pass was not one of all tasks.
        """
        routers = {n: m for n, m in self.trunk.named_modules() if isinstance(m, Routed)}
        for name, router in routers.items():
            seen = 0 if router.routes is None else router.routes.weights.shape[1]
            if seen != len(self.tasks):
                raise RuntimeError(
                    f"penalty() is of all {len(self.tasks)} tasks, but in the last pass router "
                    f"{name!r} saw {seen}: run them in one pass, as passes() gives them"
                )
        return self.weight * sum(self.measure(router.routes) for router in routers.values())
