"""Which attributes of CelebA come together: how frequent each is, and how they correlate.

    python book/studies/company.py [--data data/celeba]

Labels alone, of the training images at hand; no image is opened. Chapter 11 asks how far they
explain what the gates of tasks have in common. Writes data/results/company/celeba.json.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tssbn.data.real.celeba import ATTRIBUTES, CelebA
from tssbn.data.real.find import find
from tssbn import records


def company(labels: np.ndarray) -> dict[str, Any]:
    """Frequencies, and correlations above the diagonal row by row; 0 with a constant label.

    Args:
        labels: (N, T), 0 or 1.
    """
    constant = labels.std(0) == 0
    with np.errstate(invalid="ignore"):
        correlation = np.corrcoef(labels, rowvar=False)
    correlation[constant] = correlation[:, constant] = 0
    upper = np.triu_indices(labels.shape[1], 1)
    return {
        "images": len(labels),
        "frequency": labels.mean(0).tolist(),
        "correlation": correlation[upper].round(6).tolist(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument(
        "--data", type=Path, metavar="ROOT", help="folder of CelebA; default: data/celeba"
    )
    parser.add_argument(
        "--results", type=Path, help="folder of the saved files; default: data/results"
    )
    options = parser.parse_args(arguments)
    root = options.data or find("celeba")
    if root is None:
        parser.error("no folder of CelebA: --data ROOT")
    found = company(CelebA(root, "train").labels.numpy().astype(float))
    record = {"tasks": list(ATTRIBUTES), **found, **records.environment()}
    print(records.write("company/celeba", record, options.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
