"""The network-level columns of a table: Δm against a baseline, parameters (#P), MACs (#F)."""

import math
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from tssbn.multitask import MultiTask

__all__ = ["count_macs", "delta_m", "macs", "parameters"]


def delta_m(
    values: Mapping[str, float],
    baseline: Mapping[str, float],
    higher_is_better: Mapping[str, bool],
) -> float:
    """Compute the mean relative gain over the baseline, Δm, in percent.

        Δm = 100/T · Σ_t s_t (M_t - B_t) / B_t,    s_t = 1 if higher is better, else -1

    (arXiv 2512.20420, section 6). Each task counts with one metric: mIoU, absolute error of depth
    or disparity, mean angle, maxF or odsF. The baseline is the first row of the table, usually
    single-task networks. For CelebA the paper takes the relative gain of the mean F1 over the 40
    attributes, which differs from the mean of the 40 relative gains.

    Args:
        values: M_t, the metric of each task.
        baseline: B_t, the same metrics of the baseline, above 0.
        higher_is_better: whether a larger value of the metric is better, for each task.

    Raises:
        ValueError: the three arguments name different tasks or none, a value is not finite, or a
            baseline value is not above 0.

    Example:
        >>> single = {"segmentation": 0.4145, "depth": 0.580, "normal": 23.80}
        >>> gated = {"segmentation": 0.4375, "depth": 0.484, "normal": 24.09}
        >>> up = {"segmentation": True, "depth": False, "normal": False}
        >>> round(delta_m(gated, single, up), 2)  # table 1 prints 6.93, from more digits
        6.96
    """
    if not values or not set(values) == set(baseline) == set(higher_is_better):
        raise ValueError(
            f"values, baseline and higher_is_better must name the same tasks, at least one, got "
            f"{sorted(values)}, {sorted(baseline)} and {sorted(higher_is_better)}"
        )
    for task in values:
        if not math.isfinite(values[task]):
            raise ValueError(f"values[{task!r}] is {values[task]}, expected a finite number")
        if not 0 < baseline[task] < math.inf:
            raise ValueError(f"baseline[{task!r}] is {baseline[task]}, expected a number above 0")
    gains = (
        (1 if higher_is_better[task] else -1) * (values[task] - baseline[task]) / baseline[task]
        for task in values
    )
    return 100 * math.fsum(gains) / len(values)


def parameters(net: nn.Module, frozen: bool = False) -> int:
    """Count the trainable parameters, #P, without buffers; a shared parameter counts once.

    Args:
        frozen: also count the parameters that require no gradient.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> parameters(net)  # 3 · 8 · 9 + 8, and 2 · 8
        240
    """
    return sum(p.numel() for p in net.parameters() if frozen or p.requires_grad)


def macs(net: nn.Module, example: Tensor) -> int:
    """Count the multiply-accumulates (MACs) for one image and all tasks, #F, with the decoders.

    Convolutions, linear layers and the matrix products of attention count. Normalisation,
    activations, interpolation, biases, and modules with a true attribute ``scales_features``,
    which scale or mix features, do not. One multiplication with its addition is one MAC;
    :mod:`torch.utils.flop_counter` counts it as two FLOPs. This convention reproduces the tables
    of arXiv 2512.20420.

    In a :class:`~tssbn.MultiTask` with task-specific layers the part of the trunk before ``stem``
    counts once, and the rest once per task. The count assumes that all tasks run in one pass,
    whatever ``tasks_per_pass`` is. (Each further pass would compute the stem again.)

    The network runs once, in eval mode, and its state does not change. If the network and the
    example are on the meta device, nothing is computed.

    Args:
        example: a batch of inputs; the count is divided by its size.

    Raises:
        TypeError: ``example`` is not a tensor.
        ValueError: the batch is empty.

    Example:
        >>> with torch.device("meta"):
        ...     macs(nn.Conv2d(3, 8, 3, padding=1), torch.empty(1, 3, 32, 32))  # 32² · 8 · 3 · 9
        221184
    """
    if not isinstance(example, Tensor):
        raise TypeError(
            f"example must be one tensor, a batch of inputs, got {type(example).__name__}: wrap a "
            f"network of other inputs in a module that takes their tensor"
        )
    if example.dim() == 0 or len(example) == 0:
        raise ValueError(f"example has shape {tuple(example.shape)}, expected a batch of inputs")
    modes = {module: module.training for module in net.modules()}
    networks = [m for m in modes if isinstance(m, MultiTask) and m.can_stack]
    sizes = [module.tasks_per_pass for module in networks]
    trained = [p for p in net.parameters() if p.requires_grad]
    if len(example) == 1 and any(module.stem for module in networks):  # of which none is shared
        example = torch.cat([example, example])

    def predict() -> None:
        with torch.no_grad(), _ShapesAlone():
            net.eval()(example)

    try:
        for module in networks:
            module.tasks_per_pass = None
        for p in trained:  # torch's counter would ask for the graph of a view of one
            p.requires_grad_(False)
        return count_macs(net, predict) // len(example)
    finally:
        for module, size in zip(networks, sizes, strict=True):
            module.tasks_per_pass = size
        for p in trained:
            p.requires_grad_(True)
        for module, mode in modes.items():
            module.training = mode


def count_macs(net: nn.Module, run: Callable[[], object]) -> int:
    """Count the multiply-accumulates of a call, which may include a backward pass.

    The same operations count as in :func:`macs`.

    Args:
        net: The network that `run` uses.
        run: A function without arguments; it is called once.

    Example:
        >>> net, x = nn.Linear(4, 3, bias=False), torch.rand(2, 4)
        >>> count_macs(net, lambda: net(x)), count_macs(net, lambda: net(x).sum().backward())
        (24, 48)
    """
    from torch.utils.flop_counter import FlopCounterMode  # which takes over a second to import

    counter = FlopCounterMode(display=False)
    left_out: list[int] = []  # minus what was counted before modules that do not count, plus after

    def enter(*_: object) -> None:
        left_out.append(-counter.get_total_flops())

    def leave(*_: object) -> None:
        left_out.append(counter.get_total_flops())

    hooks = [
        hook
        for module in net.modules()
        if getattr(module, "scales_features", False)
        for hook in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave))
    ]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    try:
        # Fused kernels of attention and recurrence count as nothing; their plain forms are counted.
        torch.backends.mha.set_fastpath_enabled(False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TF32 acceleration")  # of flags() without Intel GPUs
            plain = torch.backends.mkldnn.flags(enabled=False)
            with plain, sdpa_kernel(SDPBackend.MATH), counter:
                run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for hook in hooks:
            hook.remove()
    return (counter.get_total_flops() - sum(left_out)) // 2


class _ShapesAlone(TorchFunctionMode):
    """On the meta device, give what normalisation and interpolation return without their steps.

    They count as nothing, and torch would take milliseconds for the shape of each result. What does
    not fit is left to torch, which refuses it. Without gradients only: the result has no graph.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].is_meta:
            x, *others = args
            vectors = [v for v in (*others, *kwargs.values()) if isinstance(v, Tensor)]
            if func is F.batch_norm and x.dim() > 1 and all(len(v) == x.shape[1] for v in vectors):
                return torch.empty_like(x)
            if func is F.layer_norm and others and x.shape[x.dim() - len(others[0]) :] == others[0]:
                return torch.empty_like(x)
            size = kwargs.get("size")
            if func is F.interpolate and isinstance(size, tuple) and x.dim() == 2 + len(size):
                return x.new_empty(*x.shape[:2], *size)
        return func(*args, **kwargs)
