"""Attention within the windows of a Swin transformer, with a given relative-position bias."""

import torch.nn.functional as F
from torch import Tensor, nn

from tssbn.tasks import Tasks, TaskSpecific

__all__ = ["TaskTables", "attend"]


def attend(attn: nn.Module, x: Tensor, bias: Tensor, mask: Tensor | None = None) -> Tensor:
    """Run timm's attention within windows, with the given bias in place of the layer's.

    Args:
        attn: a ``WindowAttention`` of timm.
        x: (rows, N, C), where a row is a window of an image.
        bias: (1, heads, N, N) or (rows, heads, N, N), added to the scores before the softmax.
        mask: (windows, N, N), one for each window of an image, added to the scores as well.

    Returns:
        (rows, N, C).

    Example:
        >>> import torch
        >>> from timm.models.swin_transformer import WindowAttention
        >>> attn, x = WindowAttention(8, num_heads=2, window_size=3), torch.rand(4, 9, 8)
        >>> torch.allclose(attend(attn, x, attn._get_rel_pos_bias()), attn(x), atol=1e-6)
        True
    """
    rows, count, _ = x.shape
    q, k, v = attn.qkv(x).reshape(rows, count, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    if mask is not None:
        bias = bias + mask.repeat(rows // mask.shape[0], 1, 1)[:, None]
    dropout = attn.attn_drop.p if attn.training else 0.0
    y = F.scaled_dot_product_attention(q, k, v, bias, dropout, scale=attn.scale)
    return attn.proj_drop(attn.proj(y.transpose(1, 2).reshape(rows, count, -1)))


class TaskTables(TaskSpecific):
    """Attention within windows with a table of relative-position biases for each task.

    The table of a task is the layer's table plus a trained difference, which starts at zero.

    Args:
        attn: a ``WindowAttention`` of timm.
        tasks: the tasks of the network.

    Shape: (B·t·windows, N, C) -> the same. ``delta``, the differences, is (T, positions · heads):
    one vector for each task, like the biases of other layers.

    Example:
        >>> import tssbn
        >>> from timm.models.swin_transformer import WindowAttention
        >>> attn = WindowAttention(8, num_heads=2, window_size=3)
        >>> TaskTables(attn, tssbn.Tasks(("seg", "depth"))).delta.shape
        torch.Size([2, 50])
    """

    per_task = ("delta",)

    def __init__(self, attn: nn.Module, tasks: Tasks):
        super().__init__()
        self.tasks = tasks
        self.host = attn
        table = attn.relative_position_bias_table
        self.delta = nn.Parameter(table.new_zeros(len(tasks.names), table.numel()))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        attn, area = self.host, self.host.window_area
        table = attn.relative_position_bias_table
        tables = table + self.rows(self.delta).unflatten(1, table.shape)
        of_pairs = tables[:, attn.relative_position_index.flatten()].permute(0, 2, 1)
        bias = of_pairs.unflatten(2, (area, area))  # (t, heads, N, N)
        windows = self.unstack(x[:, 0, 0]).shape[0]
        bias = self.stack(bias.expand(windows, *bias.shape))
        return attend(attn, x, bias, mask)
