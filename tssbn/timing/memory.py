"""Peak memory of a step, measured in a separate process on the CPU."""

import ctypes
import gc
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from tssbn.timing.case import Case
from tssbn.training.devices import precision_flags

__all__ = ["peak_memory"]

STEPS = 2
MMAP_THRESHOLD = -3  # of malloc.h


def peak_memory(case: Case) -> float | None:
    """Measure the peak memory of two steps in MiB, above that of the network and the images.

    Gradients are included. On a GPU it is the memory that PyTorch allocates, on a CPU the resident
    memory of the process.

    Args:
        case: the case to be measured.

    Returns:
        The peak, or None on devices where it cannot be measured.

    Raises:
        MemoryError: the memory is too small.
    """
    if case.setting.device == "cuda":
        try:
            return _on_cuda(case)
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error
    if case.setting.device != "cpu":
        return None
    fork = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if fork else "spawn")
    if fork:  # a process then starts in no time
        context.set_forkserver_preload(["__main__", "tssbn.timing.memory", "timm"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_on_cpu, case, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise MemoryError("the system ended the process that was measured") from error


def _on_cuda(case: Case) -> float:
    with precision_flags(case.setting.precision):
        step = case.step()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(STEPS):
            step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20


def _on_cpu(case: Case, threads: int) -> float | None:
    with suppress(OSError, AttributeError, TypeError):  # only glibc has it
        # Tensors are then allocated in separate pages, which are freed at once.
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 2**16)
    torch.set_num_threads(threads)
    step = case.step()
    replace(case, batch=2, strategy="plain").step()()  # loads code before the measurement
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew from here
    before = _held()
    for _ in range(STEPS):
        step()
    return None if before is None else (_held() - before) / 2**20


def _held() -> int | None:
    """Read the peak resident memory of this process in bytes, or None where it is unknown."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would tell the peak of the process that started this one
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows does not tell
        return None
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
