"""Text in columns."""

from collections.abc import Iterable, Sequence

__all__ = ["columns"]


def columns(rows: Iterable[Sequence[str]], left: int | None = None, head: int = 0) -> list[str]:
    r"""Bring the cells of all rows to the widths of their columns.

    Args:
        rows: of equally many cells.
        left: how many columns are aligned to the left, those after them to the right; all by
            default.
        head: how many rows stand above a rule; without any there is no rule.

    Returns:
        A line for each row, with two spaces between columns and none at its end, and the rule.

    Raises:
        ValueError: a row has more cells than another.

    Example:
        >>> rows = [("method", "mIoU"), ("HPS", "9.5"), ("TSσBN", "10.2")]
        >>> print(*columns(rows, left=1, head=1), sep="\n")
        method  mIoU
        ------------
        HPS      9.5
        TSσBN   10.2
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = len(widths) if left is None else left
    adjust = [str.ljust if i < left else str.rjust for i in range(len(widths))]
    lines = [
        "  ".join(a(cell, w) for a, cell, w in zip(adjust, row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if head:
        lines.insert(head, "-" * max(map(len, lines)))
    return lines
