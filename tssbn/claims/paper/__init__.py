"""The claims of the paper (arXiv 2512.20420), each with the saved runs that it is asked of.

A file for each table, figure or section; what is in none of them is in `controls`. They declare,
and read no run before :func:`claims` is called. Needs what the trainer needs.
"""

from __future__ import annotations

from importlib import import_module

from tssbn.claims.claim import Claim

__all__ = ["PARTS", "claims"]

#: The modules, in the order of the paper.
PARTS = (
    "table_1",
    "table_2",
    "tables_3_4",
    "figure_2",
    "figure_3",
    "section_5",
    "figure_4",
    "figure_5",
    "section_3",
    "appendices",
    "controls",
)


def claims(*parts: str) -> list[Claim]:
    """List the claims of the paper, and those that ask what it leaves open.

    Args:
        parts: some of :data:`PARTS`; all of them by default.

    Example:
        >>> for claim in claims("tables_3_4")[6:9]:
        ...     print(f"{claim.part}: {claim.text} ({claim.where})")
        Table 3: TSσBN beats all others (PascalContext, ViT-S)
        Table 4: TSσBN beats LoRA (PascalContext, Swin-T)
        Table 4: TSσLN beats LoRA (digits from swapped digits, Swin)
    """
    modules = (import_module(f"{__name__}.{part}") for part in parts or PARTS)
    return [claim for module in modules for claim in module.claims()]
