"""The paper's rows of a benchmark, beside the sizes of our networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import pandas

__all__ = ["paper_rows"]


def paper_rows(
    benchmark: str | Path, outputs: Mapping[str, int], size: tuple[int, int]
) -> pandas.DataFrame:
    """Give what the paper prints for a benchmark, and count parameters and MACs.

    Args:
        benchmark: its name.
        outputs: the channels of each task's prediction.
        size: height and width of the images.

    Returns:
        A row for each method of which the paper has numbers, by title. Columns are the printed
        scores; Δm in percent, 0 for the baseline; and #P and #F, parameters and
        multiply-accumulates of an image, counted here, relative to the baseline's.

    Example:
        >>> rows = paper_rows("nyuv2", {"segmentation": 13, "depth": 1, "normal": 3}, (96, 128))
        >>> rows.loc["TSσBN"].round(2).to_dict()
        {'segmentation': 43.75, 'depth': 0.48, 'normal': 24.09, 'Δm': 6.93, '#P': 0.33, '#F': 1.0}
    """
    import pandas

    from tssbn.benchmarks import find_benchmark
    from tssbn.cost import macs, parameters
    from tssbn.methods import find_method

    made = find_benchmark(benchmark)()
    rows, counts = {}, {}
    for method, scores in made.paper.items():
        if scores:
            with torch.device("meta"):
                net = find_method(method).build(made.network, outputs)
                counts[method] = parameters(net), macs(net, torch.empty(1, 3, *size))
            rows[method] = {k: v for k, v in scores.items() if k != "delta"}
            rows[method]["Δm"] = scores.get("delta", 0.0)
    base = counts[made.baseline]
    for method, row in rows.items():
        row |= {key: n / b for key, n, b in zip(("#P", "#F"), counts[method], base, strict=True)}
    return pandas.DataFrame({find_method(m).title: row for m, row in rows.items()}).T
