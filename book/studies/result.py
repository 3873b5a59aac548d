"""The figure of the first page: what each method is worth beside hard parameter sharing.

    python book/studies/result.py

Reads saved runs; writes `book/images/result.svg`, and `result-dark.svg` for a dark ground.
"""

import argparse
import re
from pathlib import Path

import matplotlib.pyplot as plt

from tssbn import plots
from tssbn.claims import effects
from tssbn.claims.paper.beds import CELEBA_10K, CENSUS, DIGITS, ROOMS
from tssbn.plots import experts

FOLDER = Path(__file__).resolve().parents[1] / "images"
BEDS = {
    "CelebA, 10,000 small faces": CELEBA_10K,
    "Synthetic rooms, U-Net": ROOMS,
    "Two digits, ViT": DIGITS,
    "Census-Income, perceptron": CENSUS,
}
ARMS = "STL", "HPS", "TSBN", "TSσBN"
INK, BAND = "#22303c", "#e4e4e4"  # of text, and of the band around zero
DARK = {INK: "#e6ebf0", BAND: "#333d47", "#dddddd": "#46505a"}  # and of the grid


def found() -> dict[str, dict]:
    """By bed, the effects over HPS; Δm is relative to STL."""
    return {
        title: effects({arm: bed.runs[arm] for arm in ARMS}, "HPS", "STL")
        for title, bed in BEDS.items()
    }


def main(folder: Path = FOLDER) -> None:
    plots.style()
    colors = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    with plt.rc_context({**dict.fromkeys(colors, INK), "svg.hashsalt": "result"}):
        figure = experts.bed_effects(found(), "HPS")
        for ax in figure.axes:
            ax.patch.set_alpha(0)
            ax.lines[-1].set_color(INK)
            for patch in ax.patches:
                patch.set_color(BAND)
        light = folder / "result.svg"
        figure.savefig(light, transparent=True, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    drawing = light.read_text(encoding="utf-8")
    # Names of clip paths are hashes of positions, whose last bits the layout leaves open.
    for number, name in enumerate(dict.fromkeys(re.findall(r"url\(#(\w+)\)", drawing))):
        drawing = drawing.replace(name, f"clip{number}")
    light.write_text(drawing, encoding="utf-8")
    for color, other in DARK.items():
        drawing = drawing.replace(color, other)
    (folder / "result-dark.svg").write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=form).parse_args()
    main()
