"""How fast a real data set is read, against opening the same files and nothing more.

    python tools/loaders.py nyuv2 --root data/nyuv2

Three readers take turns over the same samples, in the same DataLoader:

- the data set;
- its files opened and handed over: arrays of np.load as they are, pictures decoded and resized by
  Pillow, as floating tensors like those of the samples;
- the same, but thrown away in the workers.

Medians are printed. The first round, which brings the files into memory, is not counted.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset

from tssbn.data import SETS, real_set
from tssbn.data.real.find import find


class Opened(Dataset):
    """Every file of a sample, opened."""

    def __init__(self, dataset, hand_over):
        self.dataset, self.hand_over = dataset, hand_over
        self.size = tuple(dataset[0]["image"].shape[:0:-1])

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        paths = {p for p in self.dataset.files(index).values() if p.suffix != ".txt"}
        arrays = [opened(path, self.size) for path in sorted(paths)]
        return arrays if self.hand_over else index


def opened(path, size):
    if path.suffix == ".npy":
        return torch.from_numpy(np.load(path))
    with Image.open(path) as image:
        resized = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized))
        return pixels.permute(2, 0, 1).contiguous() / 255 if pixels.ndim == 3 else pixels


def rate(dataset, options):
    """Samples per second, from the first batch on."""
    loader = DataLoader(dataset, options.batch, num_workers=options.workers)
    batches = iter(loader)
    next(batches)
    start, count = time.perf_counter(), 0
    for _ in batches:
        count += options.batch
    return count / (time.perf_counter() - start)


def main():
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("name", choices=SETS)
    parser.add_argument("--root", help="folder of the data; default: data/NAME")
    parser.add_argument("--workers", type=int, default=2, help="of the DataLoader; default: 2")
    parser.add_argument("--batch", type=int, default=8, help="samples in a batch; default: 8")
    parser.add_argument("--samples", type=int, default=400, help="of a round; default: 400")
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    options = parser.parse_args()

    dataset = real_set(options.name)(options.root or find(options.name), "train")
    taken = range(min(options.samples, len(dataset)) // options.batch * options.batch)
    readers = {
        "data set": dataset,
        "files, handed over": Opened(dataset, True),
        "files, thrown away": Opened(dataset, False),
    }
    rates = {name: [] for name in readers}
    for _ in range(options.rounds + 1):
        for name, reader in readers.items():
            rates[name].append(rate(Subset(reader, taken), options))
    medians = {name: statistics.median(found[1:]) for name, found in rates.items()}
    print(f"{options.name}, {len(taken)} samples, {options.workers} workers, batch {options.batch}")
    for name, median in medians.items():
        low, high = min(rates[name][1:]), max(rates[name][1:])
        print(
            f"  {name:<20}{median:8.0f} samples/s ({low:.0f}..{high:.0f}), "
            f"data set at {medians['data set'] / median:.2f} of it"
        )


if __name__ == "__main__":
    main()
