"""The English Web Treebank: small files in its layout, with a vocabulary of their own."""

import gzip

import pytest
import torch

pytest.importorskip("tokenizers")

from tssbn.data import load
from tssbn.data.real.check import check
from tssbn.data.real.treebank import Treebank

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "we", "read", "##ing", "trees", "."]
PAD, UNKNOWN, BEGIN, END, _, WE, READ, ING, TREES, STOP = range(len(PIECES))

WE_READ = """\
# sent_id = 1
# text = We read trees.
1	We	we	PRON	PRP	_	2	nsubj	_	_
2	read	read	VERB	VBP	_	0	root	_	_
3	trees	tree	NOUN	NNS	_	2	obj	_	SpaceAfter=No
4	.	.	PUNCT	.	_	2	punct	_	_
"""
READING = """\
1-2	Reading.	_	_	_	_	_	_	_	_
1	Reading	read	NOUN	NN	_	0	root	_	_
2	.	.	PUNCT	.	_	1	punct	_	_
2.1	nothing	_	_	_	_	_	_	_	_
"""
NEW = "1	Zebras	zebra	NOUN	NNPS	_	0	root	_	_\n"
FILES = {"train": (WE_READ, READING), "dev": (READING,), "test": (NEW, WE_READ)}
LABELS = {
    "upos": ("NOUN", "PRON", "PUNCT", "VERB"),
    "xpos": (".", "NN", "NNS", "PRP", "VBP"),
    "relation": ("nsubj", "obj", "punct", "root"),
}


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "treebank"
    folder.mkdir()
    for part, sentences in FILES.items():
        text = "\n".join(sentences) + "\n"
        (folder / f"en_ewt-ud-{part}.conllu").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def read(root, vocabulary):
    return lambda split="train", **more: Treebank(root, split, vocabulary=vocabulary, **more)


def named(data, index, task):
    """The labels of a sample by name, None where there is none."""
    return [data.targets[task].classes[i] if i >= 0 else None for i in data[index][task]]


def test_a_label_stands_at_the_first_piece_of_its_word(read):
    data = read(length=6)
    assert (len(data), data.words, data.cut) == (2, 6, 0)
    assert data[0]["image"].tolist() == [BEGIN, WE, READ, TREES, STOP, END]
    assert named(data, 0, "upos") == [None, "PRON", "VERB", "NOUN", "PUNCT", None]
    assert named(data, 0, "relation") == [None, "nsubj", "root", "obj", "punct", None]
    assert data[1]["image"].tolist() == [BEGIN, READ, ING, STOP, END, PAD]
    assert named(data, 1, "xpos") == [None, "NN", None, ".", None, None]


def test_the_classes_are_the_labels_of_all_training_sentences(read):
    for split in ("train", "val", "test"):
        targets = read(split, sentences=1).targets
        assert {task: target.classes for task, target in targets.items()} == LABELS
        assert {target.kind for target in targets.values()} == {"words"}


def test_a_label_that_no_training_sentence_has_is_left_out(read):
    data = read("test", length=6)
    assert data[0]["image"].tolist() == [BEGIN, UNKNOWN, END, PAD, PAD, PAD]
    assert named(data, 0, "upos") == [None, "NOUN", None, None, None, None]
    assert named(data, 0, "xpos") == [None] * 6
    assert data.words == 5 and data.cut == 0  # it has a place all the same


def test_a_long_sentence_is_cut_and_ends_as_others_do(read):
    data = read(length=4)
    assert data[0]["image"].tolist() == [BEGIN, WE, READ, END]
    assert named(data, 0, "upos") == [None, "PRON", "VERB", None]
    assert (data.words, data.cut) == (6, 3)


def test_sentences_are_taken_at_equal_distances(root, read):
    text = "\n".join([WE_READ, READING] * 3)
    (root / "en_ewt-ud-train.conllu").write_text(text, encoding="utf-8")
    rows = read(sentences=3)
    assert rows[1]["image"].equal(rows[2]["image"]) and len(rows) == 3
    with pytest.raises(ValueError, match="sentences=7 must be from 1 to 6, all of en_ewt-ud-train"):
        read(sentences=7)


def test_compressed_files_are_read_too(root, read):
    before = {split: read(split)[0] for split in ("train", "val", "test")}
    for path in list(root.iterdir()):
        name = path.name.replace("-ud", "") + ".gz"
        (root / name).write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for split, sample in before.items():
        assert all(torch.equal(value, sample[name]) for name, value in read(split)[0].items())
    broken = root / "en_ewt-dev.conllu.gz"
    broken.write_bytes(broken.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"en_ewt-dev.conllu.gz is not a whole .gz file"):
        read("val")


def test_what_is_wrong_is_named(root, vocabulary, read):
    with pytest.raises(ValueError, match="length=2 must be 3 or more"):
        read(length=2)
    with pytest.raises(FileNotFoundError, match="no file vocabulary='nowhere' of word pieces"):
        Treebank(root, vocabulary="nowhere")
    path = root / "en_ewt-ud-test.conllu"
    path.write_text(WE_READ + "5\t!\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"en_ewt-ud-test.conllu, line 7: 2 fields, expected 10"):
        read("test")
    path.unlink()
    (root / "fr_gsd-ud-dev.conllu").write_text(READING, encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"one treebank, and has en_ewt-ud-dev.* and fr_gsd-ud-dev"
    ):
        read("val")
    with pytest.raises(
        FileNotFoundError, match=r"no file \*-test.conllu or .* data where treebank"
    ):
        read("test")


def test_it_is_checked_and_loaded_by_its_name(root, vocabulary, monkeypatch):
    monkeypatch.setattr("tssbn.data.real.treebank.minilm_vocabulary", lambda: vocabulary)
    report = check(Treebank, root)
    assert report.usable, report
    assert "upos: 0..3, 5.4% of the pieces counted\n" in str(report)
    assert {split: part.samples for split, part in report.parts.items()} == {
        "train": 2,
        "val": 1,
        "test": 2,
    }
    data = load("treebank", "val", root)
    assert data.decoded()[0]["image"].equal(data[0]["image"])
    with pytest.raises(FileNotFoundError, match="the treebank has no synthetic twin"):
        load("treebank", root=None)
