"""ViT and Swin transformers that run on prompts beside the tokens of the image."""

import torch
import torch.nn.functional as F
from timm.models.swin_transformer import (
    PatchMerging,
    SwinTransformerBlock,
    window_partition,
    window_reverse,
)
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from tssbn.mixin import mix_in
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.networks.swin import Swin
from tssbn.networks.vit import ViT
from tssbn.networks.windows import attend

__all__ = ["Prompted", "find_promptable", "give_prompts", "run_with_prompts"]


def run_with_prompts(part: nn.Module, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Run a part of a transformer on tokens and prompts.

    In a block of a ViT the prompts stand before the tokens. In a block of a Swin transformer each
    window gets the same prompts before its tokens, without a relative-position bias, and the
    outputs of a prompt are averaged over the windows of the image. A patch merging joins four
    copies of a prompt where it joins four neighbouring tokens (Jia et al., arXiv 2203.12119). Their
    code mixes up the windows of several images in a batch; here every image is treated as it would
    be alone.

    Args:
        part: a block of timm's ViT, or a block or a patch merging of timm's Swin transformer.
        x: tokens, (B, N, C) in a ViT, (B, H, W, C) in a Swin transformer.
        prompts: (B, P, C).

    Returns:
        Tokens and prompts.

    Raises:
        TypeError: the part is none of these.

    Example:
        >>> block = Block(8, num_heads=2)
        >>> x, prompts = run_with_prompts(block, torch.rand(2, 9, 8), torch.rand(2, 3, 8))
        >>> x.shape, prompts.shape
        (torch.Size([2, 9, 8]), torch.Size([2, 3, 8]))
    """
    if isinstance(part, Block):
        return _apart(part(torch.cat([prompts, x], 1)), prompts.shape[1])
    if isinstance(part, SwinTransformerBlock):
        return _window_block(part, x, prompts)
    if isinstance(part, PatchMerging):
        return part(x), part.reduction(part.norm(prompts.repeat(1, 1, 4)))
    raise TypeError(f"prompts cannot go through a {type(part).__name__}")


def _apart(both: Tensor, count: int) -> tuple[Tensor, Tensor]:
    return both[:, count:], both[:, :count]


def _window_block(block: SwinTransformerBlock, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    count, grid = prompts.shape[1], x.shape[1:3]
    both = torch.cat([prompts, x.flatten(1, 2)], 1)
    normed, of_prompts = _apart(block.norm1(both), count)
    seen, of_prompts = _attend(block, normed.unflatten(1, grid), of_prompts)
    both = both + block.drop_path1(torch.cat([of_prompts, seen.flatten(1, 2)], 1))
    both = both + block.drop_path2(block.mlp(block.norm2(both)))
    x, prompts = _apart(both, count)
    return x.unflatten(1, grid), prompts


def _attend(block: SwinTransformerBlock, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    images, height, width, _ = x.shape
    count = prompts.shape[1]
    (down, right), (rows, columns) = block.shift_size, block.window_size
    x = torch.roll(x, (-down, -right), (1, 2))
    x = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
    padded = x.shape[1], x.shape[2]

    windows = window_partition(x, block.window_size).flatten(1, 2)
    each = windows.shape[0] // images
    seen = torch.cat([prompts.repeat_interleave(each, 0), windows], 1)
    bias = F.pad(block.attn._get_rel_pos_bias(), (count, 0, count, 0))
    mask = None if block.attn_mask is None else F.pad(block.attn_mask, (count, 0, count, 0))
    windows, prompts = _apart(attend(block.attn, seen, bias, mask), count)

    x = window_reverse(windows.unflatten(1, (rows, columns)), block.window_size, *padded)
    x = torch.roll(x[:, :height, :width], (down, right), (1, 2))
    return x, prompts.unflatten(0, (images, each)).mean(1)


class Prompted(nn.Module):
    """A mixin for a ViT or Swin transformer whose blocks read prompts; see :func:`give_prompts`.

    Attributes:
        prompts: a `tssbn.peft.TaskPrompts` for each of the first blocks. Its prompts replace those
            that the block before it outputs.
    """

    prompts: nn.ModuleList

    def forward(self, images: Tensor) -> list[Tensor]:
        left, carried = iter(self.prompts), None

        def call(part: nn.Module, x: Tensor) -> Tensor:
            nonlocal carried
            block = isinstance(part, (Block, SwinTransformerBlock))
            if block and (fresh := next(left, None)) is not None:
                x, carried = fresh(x)
            if carried is None:
                return part(x)
            x, carried = run_with_prompts(part, x, carried)
            return x

        return self.run(images, call)


def find_promptable(trunk: nn.Module) -> ViT | Swin:
    """Find the ViT or Swin transformer in a trunk.

    Args:
        trunk: a :class:`~tssbn.networks.vit.ViT` or :class:`~tssbn.networks.swin.Swin`, or a module
            that contains one.

    Raises:
        tssbn.networks.stages.UnsuitableTrunk: the trunk contains none.

    Example:
        >>> vit = ViT(image=(16, 16), width=8, depth=2, heads=2, patch=8, taps=(2,))
        >>> find_promptable(nn.Sequential(vit)) is vit
        True
    """
    for part in trunk.modules():
        if isinstance(part, (ViT, Swin)):
            return part
    raise UnsuitableTrunk(
        f"prompts are for tssbn.networks.vit.ViT and tssbn.networks.swin.Swin, and a trunk of type "
        f"{type(trunk).__name__} has neither"
    )


def give_prompts(trunk: ViT | Swin, prompts: list[nn.Module]) -> None:
    """Insert prompts into a trunk, in place.

    The features that the trunk outputs do not include them. One `TaskPrompts` is the shallow
    variant of Jia et al. (arXiv 2203.12119), one for every block the deep variant.

    Args:
        trunk: the trunk. Its class becomes a subclass of :class:`Prompted` and its former class;
            the names of its parameters stay.
        prompts: a `tssbn.peft.TaskPrompts` for each of the first blocks.

    Example:
        >>> import tssbn
        >>> from tssbn.peft import TaskPrompts
        >>> trunk = ViT(image=(16, 16), width=8, depth=2, heads=2, patch=8, taps=(2,))
        >>> give_prompts(trunk, [TaskPrompts(5, 8, tssbn.Tasks(("seg", "depth")), bound=0.1)])
        >>> with tssbn.select(trunk, "seg"):
        ...     [x.shape for x in trunk(torch.rand(3, 3, 16, 16))]
        [torch.Size([3, 8, 2, 2])]
    """
    mix_in(trunk, Prompted)
    trunk.prompts = nn.ModuleList(prompts)
