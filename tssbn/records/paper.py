"""The paper's rows of a benchmark, with the sizes of the networks here."""

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
    """List the paper's scores for a benchmark, with parameters and MACs counted here.

    Args:
        benchmark: name of the benchmark, or the path of its file.
        outputs: channels of each task's prediction.
        size: height and width of the images.

    Returns:
        A row for each method with numbers in the paper, by title. Columns are the paper's scores,
        Δm in percent (0 for the baseline), and #P and #F, the parameters and the
        multiply-accumulates for an image relative to the baseline.

    Raises:
        ValueError: the benchmark is unknown.

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
