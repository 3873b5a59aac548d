"""A multi-task network with routers, and a penalty on how they use the experts."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from tssbn.mixtures.routing import Routed, Routes
from tssbn.multitask import MultiTask

__all__ = ["MixtureNetwork"]


class MixtureNetwork(MultiTask):
    """A multi-task network whose trunk has routers, and a penalty that is summed over the routers.

    The penalty depends on all tasks together. So every pass of the training contains all tasks, and
    ``tasks_per_pass`` stays None. BatchNorm layers of the trunk that are not task-specific
    normalise the rows of all tasks together.

    Args:
        trunk, heads, stem: as for :class:`tssbn.MultiTask`.
        measure: ``measure(routes)`` maps the :class:`~tssbn.mixtures.routing.Routes` of a router to
            a scalar.
        weight: the factor of the sum of these scalars.

    Example:
        >>> import torch, tssbn
        >>> from tssbn.mixtures.experts import Mixture, MLPExperts
        >>> from tssbn.mixtures.penalties import unevenness
        >>> from tssbn.mixtures.routing import Router
        >>> tasks = tssbn.Tasks(("seg", "depth"))
        >>> trunk = Mixture(Router(8, experts=4, top=2, tasks=tasks), MLPExperts(4, 8, 6))
        >>> heads = {"seg": nn.Linear(8, 3), "depth": nn.Linear(8, 1)}
        >>> def measure(routes):
        ...     return unevenness(routes.weights.sum((0, 2))).sum()
        >>> net = MixtureNetwork(trunk, heads, measure, weight=0.01)
        >>> {task: y.shape for task, y in net(torch.rand(5, 7, 8)).items()}
        {'seg': torch.Size([5, 7, 3]), 'depth': torch.Size([5, 7, 1])}
        >>> net.penalty() > 0
        tensor(True)
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
        """None, because all tasks are in every pass."""
        return None

    @tasks_per_pass.setter
    def tasks_per_pass(self, value: int | None) -> None:
        """Ignored."""

    def penalty(self) -> Tensor:
        """Compute the weighted sum of the measure over the routers, for the last pass.

        Raises:
            RuntimeError: the last pass did not contain all tasks.
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
