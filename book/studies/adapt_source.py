"""What a small Swin transformer learns on synthetic streets: where the benchmark `adapt` starts.

    python book/studies/adapt_source.py SEED [SEED ...]

HPS learns segmentation, parts and disparity on 500 pictures of 48x48 pixels: 32 epochs of 31 steps
of 16 pictures, AdamW, from 1e-3 down by a cosine. The trunk is written to
data/weights/adapt-source-SEED.pth in half precision, 1.1 MiB. The scores, and the hash of the
weights that saved runs of `adapt` have, too, are written to data/results/adapt_source/SEED.json.
The same seed gives other weights on another machine. To continue the runs of somebody else, copy
the file of weights.
"""

import argparse
from functools import partial
from pathlib import Path

import torch

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.adapt import BATCH, SIZE, decoder, trunk, weights_file
from tssbn.benchmarks.tasks import tasks_for
from tssbn.data.stored import Stored
from tssbn.data.synthetic.scenes import Streets, streets
from tssbn.methods import Network
from tssbn.networks.pretrained import swin_weights
from tssbn.records import write
from tssbn.training.batches import sha256
from tssbn.training.loop import train
from tssbn.training.run import Run


def source(n: int = 500, epochs: int = 32) -> Benchmark:
    """The streets that a trunk learns on; an eighth as many to test."""
    return Benchmark(
        name="adapt_source",
        title="streets, Swin",
        data=partial(drawn, n),
        network=Network(trunk, decoder, dummy_images(SIZE, SIZE)),
        tasks=tasks_for,
        recipe=Recipe(
            epochs=epochs,
            batch=BATCH,
            lr=1e-3,
            optimiser="adamw",
            weight_decay=0.01,
            schedule="cosine",
            interval="step",
            drop_last=True,
        ),
        synthetic=True,
    )


def drawn(n: int, split: str, root: None = None) -> Stored:
    recipe = Streets(height=SIZE, width=SIZE)
    return streets(split, n if split == "train" else n // 8, recipe=recipe)


def learn(seed: int, folder: Path, made: Benchmark) -> dict:
    """Train one source; leaves its weights in a folder, and gives its record with their hash."""
    net, record = train(Run(made, "hps", seed))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / weights_file(seed)
    torch.save({name: x.cpu().half() for name, x in net.trunk.state_dict().items()}, path)
    return record | {"weights": sha256(swin_weights(path, trunk))}


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("seeds", metavar="SEED", type=int, nargs="+")
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path("data/weights"),
        metavar="FOLDER",
        help="folder of the weights; default: data/weights",
    )
    given = parser.parse_args()
    for seed in given.seeds:
        record = learn(seed, given.weights, source())
        write(f"adapt_source/{seed}", record)
        last = record["epochs"][-1]
        seconds = sum(epoch["seconds"] for epoch in record["epochs"])
        print(seed, last["losses"], last["test"], record["weights"][:12], f"{seconds:.0f} s")


if __name__ == "__main__":
    main()
