"""Attention whose heads are experts, and attention with heads of any width."""

import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.mixtures.experts import dispatch, uniform
from tssbn.mixtures.routing import Router

__all__ = ["AttentionExperts", "WideAttention"]


class AttentionExperts(nn.Module):
    """Attention in which each token is routed to a few heads (Zhang et al., arXiv 2210.05144).

    An expert is a pair of matrices, for the query and for the output of a head; all experts share
    keys and values. With the weights p of the chosen experts,

        y = Σ_e p_e W_out,e softmax(q_e Kᵀ / √width) V,    q_e = W_query,e x

    The entries of both matrices are drawn uniformly from ±1/n, where n is the number of inputs of
    the matrix.

    Args:
        router: the router; a token has as many heads as experts are chosen.
        experts: number of experts.
        inputs: channels of a token.
        width: channels of a head.

    Shape: (B·t, N, inputs) -> the same.

    Example:
        >>> import torch, tssbn
        >>> router = Router(8, experts=5, top=2, tasks=tssbn.Tasks(("seg",)))
        >>> AttentionExperts(router, 5, inputs=8, width=6)(torch.rand(3, 7, 8)).shape
        torch.Size([3, 7, 8])
    """

    def __init__(self, router: Router, experts: int, inputs: int, width: int):
        super().__init__()
        self.router = router
        self.query = uniform(experts, width, inputs, bound=1 / inputs)
        self.output = uniform(experts, inputs, width, bound=1 / width)
        self.key_value = nn.Linear(inputs, 2 * width)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal=False) -> Tensor:
        weights, places = self.router(x)
        shape, flat = places.shape, places.flatten(0, 1)
        experts = len(self.query)

        def query(e: int, rows: Tensor) -> Tensor:
            return F.linear(rows, self.query[e])

        def output(e: int, rows: Tensor) -> Tensor:
            return F.linear(rows, self.output[e])

        queries = dispatch(x.flatten(0, 1), flat, experts, query).unflatten(0, shape[:2])
        key, value = self.key_value(x)[:, None].expand(-1, shape[2], -1, -1).chunk(2, -1)
        heads = F.scaled_dot_product_attention(
            queries.transpose(1, 2), key, value, attn_mask, is_causal=is_causal
        )
        each = dispatch(heads.transpose(1, 2).flatten(0, 1), flat, experts, output)
        return (weights.reshape(*flat.shape, 1).to(each) * each).sum(1).view_as(x)


class WideAttention(nn.Module):
    """Multi-head attention with heads of any width, initialised as in timm's transformers.

    Args:
        inputs: channels of a token.
        heads: number of heads.
        width: channels of a head.

    Shape: (B, N, inputs) -> the same.

    Example:
        >>> import torch
        >>> WideAttention(8, heads=2, width=6)(torch.rand(3, 7, 8)).shape
        torch.Size([3, 7, 8])
    """

    def __init__(self, inputs: int, heads: int, width: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(inputs, 3 * heads * width)
        self.proj = nn.Linear(heads * width, inputs)
        for layer in self.qkv, self.proj:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal=False) -> Tensor:
        parts = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(*parts, attn_mask, is_causal=is_causal)
        return self.proj(heads.transpose(1, 2).flatten(2))
