"""What a small Swin transformer learns on swapped digits: where the benchmark `adapt` starts.

    python book/studies/adapt_source.py SEED [SEED ...]

HPS reads the odd digit on the left of a canvas and the even one on the right: 3,200 canvases, 10
epochs of batches of 64, Adam, from 2e-3 down by a cosine. The trunk is written to
data/weights/adapt-source-SEED.pth in half precision, 0.3 MiB. The scores, and the hash of the
weights that saved runs of `adapt` have, too, are written to data/results/adapt_source/SEED.json.
The same seed gives other weights on another machine. To continue the runs of somebody else, copy
the file of weights.
"""

import argparse
from pathlib import Path

import torch

from tssbn.benchmarks import Benchmark, Recipe, dummy_images
from tssbn.benchmarks.adapt import Head, composed, trunk, weights_file
from tssbn.benchmarks.digits import SIDE
from tssbn.benchmarks.tasks import tasks_for
from tssbn.methods import Network
from tssbn.networks.pretrained import swin_weights
from tssbn.records import write
from tssbn.training.batches import sha256
from tssbn.training.loop import train
from tssbn.training.run import Run


KEPT = ("seed", "epochs", "constant", "seconds", "device", "versions", "commit")


def source(per_pair: int = 200, epochs: int = 10) -> Benchmark:
    """The canvases that a trunk learns on; half as many of each pair to test."""
    return Benchmark(
        name="adapt_source",
        title="swapped digits, Swin",
        data=lambda split, root: composed(split, per_pair // (1 + (split == "test")), swapped=True),
        network=Network(trunk, Head, dummy_images(SIDE, SIDE)),
        tasks=tasks_for,
        recipe=Recipe(epochs=epochs, batch=64, lr=2e-3, schedule="cosine", interval="step"),
        synthetic=True,
    )


def learn(seed: int, folder: Path, made: Benchmark) -> dict:
    """Train one source; leaves its weights in a folder, and gives its record with their hash."""
    net, record = train(Run(made, "hps", seed))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / weights_file(seed)
    torch.save({name: x.cpu().half() for name, x in net.trunk.state_dict().items()}, path)
    kept = {key: record[key] for key in KEPT}
    return {**kept, "weights": sha256(swin_weights(path, trunk))}


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
