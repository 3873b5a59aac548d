"""Words of English sentences: part of speech, tag and relation, on a small pretrained BERT."""

from functools import partial
from pathlib import Path

import torch
from torch import nn

from tssbn.benchmarks import Benchmark, Recipe
from tssbn.benchmarks.tasks import tasks_for
from tssbn.benchmarks.transformers import started
from tssbn.data.real.minilm import SOURCES, minilm_folder
from tssbn.data.real.treebank import Treebank
from tssbn.methods import Network
from tssbn.networks.bert import Bert, minilm_weights
from tssbn.networks.weights import check_source

TUNED = {  # what is trained in the trunk, by the sentences to validate
    "full": {"multiplier": 0.01},
    "shared-norm": {"multiplier": 1},
    "bitfit": {"multiplier": 0.3},
    "lora": {"multiplier": 0.3},
    "adapter": {"multiplier": 0.3},
    "vl-adapter": {"multiplier": 0.1},
    "tsbn-frozen": {"multiplier": 0.3, "whole": True},
    "tssbn-frozen": {"multiplier": 1, "whole": True},
    "shared-gates-frozen": {"multiplier": 1, "whole": True},
}


def benchmark(
    n: int = 640, scored: int = 500, length: int = 32, pretrained: str = "package"
) -> Benchmark:
    """Three labels of each word of the English Web Treebank, on all-MiniLM-L6-v2.

    What is trained in a frozen trunk, away from images: the universal part of speech (17 classes),
    the tag of the Penn Treebank (49) and the relation to the word that it depends on (51). The
    trunk is a BERT of six layers, heads are linear, the score is the accuracy of the words. The
    recipe is our own: Adam sees each training sentence once, 8 in a step, at 0.03 after a warm-up
    of a tenth, then down by a cosine. Methods have the factor ``multiplier`` on the rate of what
    they train in the trunk; these were chosen on 100 sentences to validate, after training
    on 320 (``book/studies/tuning.py``). So was the base rate, with the heads alone, among 0.001,
    0.003, 0.01, 0.03, 0.06 and 0.1, of which the last three are alike. Δm is against the heads
    alone.

    Args:
        n: training sentences, at equal distances among the 12,544.
        scored: sentences to score, of those to validate (2,001) and to test (2,077) each; so
            chosen, too.
        length: word pieces of a sentence; what is longer is cut. By default 9 % of the test words
            are cut off, and not scored.
        pretrained: where the trunk's weights come from: ``"package"``, ``"file"``, or ``"none"``
            for a start at random, as :data:`tssbn.data.real.minilm.SOURCES` says.

    Raises:
        ValueError: `pretrained` is unknown.
    """
    check_source(pretrained, SOURCES)
    weights = None if pretrained == "none" else partial(minilm_weights, pretrained)
    return Benchmark(
        name="treebank",
        title="words, BERT",
        data=partial(part, n=n, scored=scored, length=length, pretrained=pretrained),
        network=Network(
            partial(started, Bert, weights), head, dummy_sentences(length), pretrained=weights
        ),
        tasks=tasks_for,
        recipe=Recipe(epochs=1, batch=8, lr=0.03, schedule="cosine", warmup=0.1, interval="step"),
        tuned=TUNED,
        source="treebank",
        baseline="heads-only",
    )


def head(outputs: int) -> nn.Conv1d:
    """A linear layer of each token.

    Example:
        >>> head(17)(torch.zeros(2, 384, 48)).shape
        torch.Size([2, 17, 48])
    """
    return nn.Conv1d(384, outputs, 1)


def dummy_sentences(length: int) -> torch.Tensor:
    """Two sentences of no meaning."""
    random = torch.Generator().manual_seed(0)
    return torch.randint(1, 30522, (2, length), generator=random).float()


def part(
    split: str, root: str | Path, n: int, scored: int, length: int, pretrained: str
) -> Treebank:
    """Some sentences of a part, in the word pieces of the model."""
    vocabulary = None if pretrained == "none" else minilm_folder(pretrained) / "vocab.txt"
    count = n if split == "train" else scored
    return Treebank(root, split, length=length, vocabulary=vocabulary, sentences=count)
