"""Census-Income (KDD): 299,285 people of two surveys in the United States, three tasks."""

import gzip
import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tssbn.data.real.dataset import RealSet, Transform
from tssbn.data.real.fetch import Remote
from tssbn.data.real.files import whole
from tssbn.data.stored import Stored
from tssbn.data.target import Target

__all__ = ["INPUTS", "SHIPPED", "Census", "subset"]

#: The folder with the people that the package brings along, those of ``census-income.test.gz``.
SHIPPED = Path(__file__).resolve().parents[1] / "census"

# The 42 columns in their order: the values of a nominal one, None for numbers. They are those of
# the published census-income.names, with "?" where it counts one value more than it lists.
COLUMNS: dict[str, list[str] | None] = json.loads(
    (SHIPPED / "columns.json").read_text(encoding="utf-8")
)
WEIGHT = "instance weight"  # of the survey: "should not be used in the classifiers"
LABELS = {"income": "income", "never_married": "marital stat", "college": "education"}
NUMBERS = tuple(name for name, values in COLUMNS.items() if values is None and name != WEIGHT)
NOMINAL = tuple(n for n, values in COLUMNS.items() if values and n not in LABELS.values())
MONEY = {"wage per hour", "capital gains", "capital losses", "dividends from stocks"}
COLLEGE = (
    "Some college but no degree", "Associates degree-occup /vocational",
    "Associates degree-academic program", "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)", "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)  # fmt: skip
YES = {"income": ("50000+",), "never_married": ("Never married",), "college": COLLEGE}

#: The name of each input, ``"age"`` of a number and ``"race=White"`` of a value, in their order.
INPUTS = NUMBERS + tuple(f"{name}={value}" for name in NOMINAL for value in COLUMNS[name])

TRAIN, TEST = "census-income.data", "census-income.test"
ADDRESS = "https://archive.ics.uci.edu/ml/machine-learning-databases/census-income-mld"

WHERE = f"""\
Census-Income (KDD), 299,285 people of the Current Population Surveys of 1994 and 1995
U.S. Census Bureau; donated by Terran Lane and Ronny Kohavi to the UCI Machine Learning Repository

Page      https://archive.ics.uci.edu/dataset/117/census+income+kdd
          https://doi.org/10.24432/C5N30T
Licence   CC BY 4.0, https://creativecommons.org/licenses/by/4.0
Size      9.4 MB

The 99,762 people of {TEST}.gz come with the package; nothing has to be fetched for
the benchmark. For the whole set:
  python -m tssbn data download census SRC
  python -m tssbn data prepare census SRC data/census
Where {TRAIN}.gz is not in SRC, DEST has the 99,762 alone.

Layout, made by prepare:
  {TRAIN}.npz    199,523 people, for training; may be missing
  {TEST}.npz     99,762 people: a half to validate and a half to test; without the
                           other file, 60 % for training, 20 % and 20 %
Each array is a column, in the order of the people: a number, or the place of the value among
those of the column. The instance weight is left out.
"""


class Census(RealSet):
    """Reads Census-Income (KDD), with the tasks of the MMoE paper (Ma et al., KDD 2018).

    A sample holds three attributes, each 0 or 1: ``income`` (above 50,000 dollars),
    ``never_married``, and ``college`` (some college or more). Its ``image`` is the vector of the
    inputs, (``len(INPUTS)``,) float32. The columns of the three labels and the instance weight are
    no inputs. Nominal columns are one-hot. Numerical columns have mean 0 and standard deviation 1
    over the training set; sums of money x are replaced by log(1 + x) before that.

    Some of the inputs predict a label almost by themselves. They stay among the inputs, as in the
    paper. The two columns of the household state "never married" for 34,577 of the 43,143 people
    who never married. Nobody who is a ``Spouse of householder`` or files taxes jointly has
    ``never_married``. Of the 2,832 people who are enrolled in a college, 85 % have ``college``.
    All 23,442 people under 15 have the same three labels, except three who have married.

    If the published training file is there, it is the training set, and the published test file is
    cut into two halves, ``"val"`` and ``"test"``. Without it, as in the package, the 99,762 people
    of the test file are cut into 60 % ``"train"``, 20 % ``"val"`` and 20 % ``"test"``. Their order
    is that of ``numpy.random.RandomState(0).permutation``.

    Args:
        root: the folder that ``prepare`` wrote; by default, the data in the package.
        split: ``"train"``, ``"val"`` or ``"test"``.
        transform: a function that gets the sample, a dict of tensors, and returns another.
        people: how many people the training set has, the first ones; all by default.

    Raises:
        FileNotFoundError: there is no ``census-income.test.npz``.
        ValueError: the split is unknown, the training set has fewer than ``people`` people, or a
            file is damaged or lacks a column.

    Example:
        >>> data = Census(split="test")
        >>> len(data), data[0]["image"].shape, list(data.targets)
        (19953, torch.Size([486]), ['income', 'never_married', 'college'])
    """

    official: ClassVar = {"train": 199523, "val": 49881, "test": 49881}
    where = WHERE
    downloads = tuple(Remote(f"{ADDRESS}/{name}.gz", f"{name}.gz") for name in (TRAIN, TEST))
    targets: ClassVar = dict.fromkeys(LABELS, Target("attribute"))

    def __init__(
        self,
        root: str | Path = SHIPPED,
        split: str = "train",
        transform: Transform | None = None,
        people: int | None = None,
    ) -> None:
        super().__init__(root, split, transform)
        more, file = (self.root / f"{name}.npz" for name in (TRAIN, TEST))
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} is missing; of the published files it is made by: "
                f"python -m tssbn data prepare census SRC {self.root}"
            )
        asked = _load(file)
        n = len(asked["age"])
        order = np.random.RandomState(0).permutation(n)
        cuts = [0, n // 2] if more.is_file() else [n * 6 // 10, n * 8 // 10]
        parts = dict(zip(self.official, np.split(order, cuts), strict=True))
        train = _load(more) if more.is_file() else _rows(asked, parts["train"])
        if people is not None and not 1 <= people <= len(train["age"]):
            raise ValueError(
                f"people={people} must be from 1 to {len(train['age'])}, all there are"
            )
        train = _rows(train, slice(people))
        rows = train if split == "train" else _rows(asked, parts[split])
        self._file = more if split == "train" and more.is_file() else file
        self._stored = Stored(
            {"image": _inputs(rows, train), **{task: _labels(rows, task) for task in LABELS}},
            self.targets,
        )

    def __len__(self) -> int:
        return len(self._stored)

    def files(self, index: int) -> dict[str, Path]:
        return dict.fromkeys(("image", *LABELS), self._file)

    def read(self, index: int) -> dict[str, Tensor]:
        return self._stored[index]

    def decoded(self) -> Stored | None:
        return self._stored if self.transform is None else None

    @classmethod
    def prepare(cls, src: Path, dest: Path) -> None:
        """Convert the published files to files of numbers, which the class reads.

        Args:
            src: the folder with ``census-income.test.gz`` and, if wanted,
                ``census-income.data.gz``, the training file.
            dest: the folder that gets one ``.npz`` file for each of them.

        Raises:
            FileNotFoundError: there is no ``census-income.test.gz``.
            ValueError: a line does not have the published form; the error names file and line.
        """
        if not (src / f"{TEST}.gz").is_file():
            raise FileNotFoundError(f"no {TEST}.gz in {src}: python -m tssbn data where census")
        for name in (TEST, TRAIN):
            if (src / f"{name}.gz").is_file():
                columns = _published(src / f"{name}.gz")
                with whole(dest / f"{name}.npz") as path:
                    np.savez_compressed(path, **columns)


def subset(split: str, n: int | None = None) -> Stored:
    """Return a split of the data in the package, held in memory.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``, see :class:`Census`.
        n: how many people, the first ones of the split; all by default.

    Example:
        >>> subset("val", n=100)
        Stored(100 samples: image 486, 3 attributes)
    """
    held = Census(SHIPPED, split).decoded()
    return Stored({name: value[:n] for name, value in held.tensors.items()}, held.targets)


def _published(path: Path) -> dict[str, np.ndarray]:
    """The columns of a file of UCI: numbers, and places of values."""
    kept = [i for i, name in enumerate(COLUMNS) if name != WEIGHT]
    rows = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                fields = [field.strip() for field in line.strip().removesuffix(".").split(",")]
                if len(fields) != len(COLUMNS):
                    raise ValueError(
                        f"{path}, line {number}: {len(fields)} fields, expected {len(COLUMNS)}"
                    )
                rows.append([fields[i] for i in kept])
    except (EOFError, OSError) as error:
        raise ValueError(f"{path} is not a whole .gz file: {error}") from error
    if not rows:
        raise ValueError(f"{path} has no line")
    found = {}
    for i, values in zip(kept, zip(*rows, strict=True), strict=True):
        name, known = list(COLUMNS.items())[i]
        place = {value: place for place, value in enumerate(known or ())}
        fine = place.__contains__ if known else str.isdecimal
        wrong = next((line for line, value in enumerate(values, 1) if not fine(value)), None)
        if wrong is not None:
            raise ValueError(
                f"{path}, line {wrong}: {name} is {values[wrong - 1]!r}, expected "
                f"{f'one of {known}' if known else 'a whole number'}"
            )
        numbers = np.array([place[value] if known else int(value) for value in values])
        found[name] = numbers.astype(np.min_scalar_type(numbers.max()))
    return found


def _load(path: Path) -> dict[str, np.ndarray]:
    """The columns of a file that ``prepare`` wrote."""
    try:
        with np.load(path, allow_pickle=False) as found:
            columns = {name: found[name] for name in COLUMNS if name != WEIGHT}
    except Exception as error:  # which kind depends on where the file is broken
        raise ValueError(f"{path} is not a whole file of `data prepare census`: {error}") from error
    for name, values in columns.items():
        top = np.inf if COLUMNS[name] is None else len(COLUMNS[name]) - 1
        if values.shape != columns["age"].shape or values.min() < 0 or values.max() > top:
            raise ValueError(
                f"{path}: {name} has shape {values.shape} and values {values.min()}.."
                f"{values.max()}, expected 0..{top} of {len(columns['age']):,} people"
            )
    return columns


def _rows(people: dict[str, np.ndarray], order: np.ndarray | slice) -> dict[str, np.ndarray]:
    return {name: values[order] for name, values in people.items()}


def _inputs(rows: dict[str, np.ndarray], train: dict[str, np.ndarray]) -> Tensor:
    """(N, ``len(INPUTS)``) float32."""
    inputs = torch.zeros(len(rows["age"]), len(INPUTS))
    for column, name in enumerate(NUMBERS):
        values, those = (_number(people, name) for people in (rows, train))
        scaled = (values - those.mean()) / (those.std() or 1.0)
        # Machines may differ in the last bit of a logarithm or a sum; not in steps of 1/1024.
        inputs[:, column] = torch.from_numpy(np.round(1024 * scaled) / 1024)
    column = len(NUMBERS)
    for name in NOMINAL:
        place = torch.from_numpy(rows[name].astype(np.int64))
        inputs[torch.arange(len(place)), column + place] = 1
        column += len(COLUMNS[name])
    return inputs


def _number(people: dict[str, np.ndarray], name: str) -> np.ndarray:
    values = people[name].astype(np.float64)
    return np.log1p(values) if name in MONEY else values


def _labels(rows: dict[str, np.ndarray], task: str) -> Tensor:
    """(N,) int8, 0 or 1."""
    column = LABELS[task]
    yes = [COLUMNS[column].index(value) for value in YES[task]]
    return torch.from_numpy(np.isin(rows[column], yes).astype(np.int8))
