"""BERT as a trunk, in blocks of timm, and the weights that it starts from.

(Devlin et al., arXiv 1810.04805.) Its layers have the names of a ViT's, so that methods which train
little of a frozen transformer take it as they take that.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from tssbn.data.real.minilm import minilm_folder
from tssbn.networks.pretrained import load
from tssbn.networks.weights import check_fit

__all__ = ["Bert", "PostNormBlock", "bert_weights", "minilm_weights"]


class PostNormBlock(Block):
    """A block whose LayerNorms stand behind the sums: ``norm1(x + attn(x))``, then the MLP's so.

    Shape: (B, N, width), and a mask (B, 1, 1, N) that is added to the scores -> (B, N, width).

    Example:
        >>> block = PostNormBlock(8, num_heads=2)
        >>> block(torch.rand(2, 5, 8), torch.zeros(2, 1, 1, 5)).shape
        torch.Size([2, 5, 8])
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm1(x + self.attn(x, attn_mask=mask))
        return self.norm2(x + self.mlp(x))


class Bert(nn.Module):
    """BERT without its pooling layer; that of all-MiniLM-L6-v2 by default.

    22,564,608 parameters, 13 LayerNorm layers with 4,992 channels. All tokens are of the first of
    BERT's two types, so its embedding is part of the positions'. There is no dropout.

    Args:
        vocabulary: number of word pieces; 0 is padding, which no token attends to.
        positions: the greatest length of a sentence.
        width: channels of a token.
        depth: number of blocks.
        heads: of the attention.

    Shape: numbers of word pieces (B, N), of any type -> (B, width, N).

    Raises:
        ValueError: a sentence has more tokens than there are positions.

    Example:
        >>> trunk = Bert(vocabulary=50, positions=9, width=8, depth=2, heads=2)
        >>> trunk(torch.tensor([[2, 7, 3], [2, 3, 0]])).shape
        torch.Size([2, 8, 3])
    """

    def __init__(
        self,
        vocabulary: int = 30522,
        positions: int = 512,
        width: int = 384,
        depth: int = 6,
        heads: int = 12,
    ):
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-12)
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(positions, width))
        self.norm = norm(width)
        self.blocks = nn.ModuleList(
            PostNormBlock(width, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth)
        )
        self.apply(_start)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, pieces: Tensor) -> Tensor:
        length = pieces.shape[1]
        if length > len(self.positions):
            raise ValueError(f"{length} tokens, more than the {len(self.positions)} positions")
        x = self.norm(self.words(pieces.long()) + self.positions[:length])
        padding = (pieces == 0)[:, None, None]
        mask = torch.zeros_like(padding, dtype=x.dtype)
        mask = mask.masked_fill(padding, torch.finfo(x.dtype).min)
        for block in self.blocks:
            x = block(x, mask)
        return x.transpose(1, 2)


def _start(layer: nn.Module) -> None:
    """BERT's start at random."""
    if isinstance(layer, (nn.Linear, nn.Embedding)):
        nn.init.normal_(layer.weight, std=0.02)
    if isinstance(layer, nn.Linear):
        nn.init.zeros_(layer.bias)


PLACES = {
    "attention.output.dense": "attn.proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "output.LayerNorm": "norm2",
}
LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")


def bert_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of BERT the names that they have in :class:`Bert`.

    Args:
        state: by the names of the library transformers, with or without ``bert.`` in front. The
            pooling layer and heads are left out.

    Raises:
        KeyError: a tensor of BERT is missing; names it.
    """
    state = {name.removeprefix("bert."): value for name, value in state.items()}
    embeddings = "embeddings.{}_embeddings.weight".format
    found = {
        "words.weight": state[embeddings("word")],
        "positions": state[embeddings("position")] + state[embeddings("token_type")][0],
        "norm.weight": state["embeddings.LayerNorm.weight"],
        "norm.bias": state["embeddings.LayerNorm.bias"],
    }
    for name, value in state.items():
        if (match := LAYER.fullmatch(name)) is None:
            continue
        number, place, kind = match.groups()
        if place in PLACES:
            found[f"blocks.{number}.{PLACES[place]}.{kind}"] = value
        elif place == "attention.self.query":
            rest = (state[name.replace("query", other)] for other in ("key", "value"))
            found[f"blocks.{number}.attn.qkv.{kind}"] = torch.cat([value, *rest])
    return found


def minilm_weights(
    source: str = "package", make: Callable[[], nn.Module] = Bert
) -> dict[str, Tensor]:
    """Read the tensors of all-MiniLM-L6-v2, by the names of the trunk.

    Args:
        source: see :data:`tssbn.data.real.minilm.SOURCES`, but not ``"none"``.
        make: makes the trunk.

    Raises:
        FileNotFoundError: There is no such package, folder or file; says how to get it.
        ValueError: The file holds the weights of another network.
    """
    path: Path = minilm_folder(source) / "model.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"pretrained={source} needs {path}, which is missing")
    try:
        given = bert_weights(load(path))
    except KeyError as error:
        raise ValueError(f"{path} holds no BERT: {error} is missing") from error
    with torch.device("meta"):
        trunk = make()
    check_fit(given, trunk, str(path))
    return given
