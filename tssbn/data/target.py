"""What the entries of a sample hold, said once for every data set, made or real.

A sample is a dict: ``"image"`` (3, H, W) float32 in [0, 1], and one entry for each task. A data set
has ``targets``, a dict from the task's name to its :class:`Target`.
"""

from dataclasses import dataclass

__all__ = ["KINDS", "Target"]

KINDS = ("classes", "depth", "disparity", "normal", "attribute")


@dataclass(frozen=True)
class Target:
    """The kind of one task's entry in a sample.

    ========= ================= ========================================== ==================
    kind      shape, type       values                                     not to be counted
    ========= ================= ========================================== ==================
    classes   (H, W) int64      index into ``classes``                     ``ignore``, -1
    depth     (1, H, W) float32 metres along the optical axis              ``ignore``, 0
    disparity (1, H, W) float32 in the unit of the data set                ``ignore``, -1 or 0
    normal    (3, H, W) float32 unit vectors; x right, y down, z forward;  zero vectors
                                they point towards the camera
    attribute () int64          0 absent, 1 present                        nothing
    ========= ================= ========================================== ==================

    Files mark void pixels in their own ways (255 in PASCAL's, label ids in Cityscapes'); the
    readers turn all of them into the values of this table.

    Args:
        kind: one of the table.
        classes: the names of the classes, in the order of their indices.
        ignore: the value of the pixels that no loss and no metric may count.

    Raises:
        ValueError: unknown kind, or ``classes`` given for another kind or missing for its own.

    Example:
        >>> Target("classes", ("background", "salient"), ignore=-1)
        Target(kind='classes', classes=('background', 'salient'), ignore=-1)
    """

    kind: str
    classes: tuple[str, ...] = ()
    ignore: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")
        if (self.kind == "classes") != bool(self.classes):
            raise ValueError(
                f"classes are the names of a target of kind 'classes', got {self.classes!r} "
                f"for kind {self.kind!r}"
            )
