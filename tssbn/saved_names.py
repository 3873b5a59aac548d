"""Task names in the state_dict of a network: its rows mean nothing without them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tssbn.tasks import TaskSpecific, find_tasks

__all__ = ["forget_names", "keep_names"]


def keep_names(model: nn.Module) -> None:
    """Let the task names travel in the state_dict of `model`.

    They stand in a buffer, so that every key of the state_dict leads to an attribute.
    """
    layer = next(part for part in model.modules() if isinstance(part, TaskSpecific))
    device = next((own.device for own in layer.parameters()), None)
    names = _encode(layer.tasks.names).to(device)
    holders = [part for part in model.modules() if "task_names" in part._buffers]
    for part in holders:
        part.task_names = names
    if not holders:
        model.register_buffer("task_names", names)
        model.register_state_dict_post_hook(_save_names)
        model.register_load_state_dict_pre_hook(_check_names)


def forget_names(model: nn.Module) -> None:
    """Take out, in place, what `keep_names` put in."""
    for module in model.modules():
        if module._buffers.pop("task_names", None) is not None:
            for hooks in module._state_dict_hooks, module._load_state_dict_pre_hooks:
                for key in [k for k, hook in hooks.items() if _is_ours(hook)]:
                    del hooks[key]


def _is_ours(hook: Any) -> bool:
    return getattr(hook, "hook", hook) in (_save_names, _check_names)  # PyTorch wraps some


def _encode(names: tuple[str, ...]) -> Tensor:
    return torch.tensor(list("\n".join(names).encode()), dtype=torch.uint8, device="cpu")


def _save_names(model: nn.Module, state: dict, prefix: str, metadata: Any) -> None:
    state[prefix + "task_names"] = _encode(find_tasks(model)[0].names)


def _check_names(model: nn.Module, state: dict, prefix: str, *_: Any) -> None:
    """Refuse the state of other tasks before anything is copied."""
    (own,) = find_tasks(model)
    saved = state.get(prefix + "task_names")
    if saved is not None and not saved.is_meta:
        values = saved.detach().float().round().to(torch.uint8)  # a cast or a mean of copies
        names = tuple(bytes(values.tolist()).decode(errors="replace").split("\n"))
        if names != own.names:
            raise ValueError(
                f"the state_dict is of tasks {list(names)}, this network has {list(own.names)} "
                "(names and order must agree)"
            )
    device = model.task_names.device
    if device.type == "meta" and saved is not None:  # to be assigned
        device = saved.device
    state[prefix + "task_names"] = _encode(own.names).to(device)
