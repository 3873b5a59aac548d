"""Trained networks of some saved runs, files with weights in half precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tssbn import sealed
from tssbn.records.store import folders, results_dir

if TYPE_CHECKING:
    from tssbn.benchmarks import Benchmark
    from tssbn.contract import MultiTaskNetwork
    from tssbn.methods import Method

__all__ = ["network", "save_network"]


def network(
    benchmark: str | Path | Benchmark,
    method: str | Path | Method,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> MultiTaskNetwork:
    """Load the network of a saved run, as it was after the last epoch.

    The package contains those of ``rooms`` (``hps``, ``tsbn`` and ``tssbn``) and ``census``
    (``tssbn``), with seed 0. Their weights have 16 bits, so that scores differ from those of the
    saved run in the fourth digit.

    Args:
        benchmark, method, seed, settings: as for :class:`tssbn.training.run.Run`.

    Returns:
        The network in eval mode, on the CPU, with weights of 32 bits.

    Raises:
        FileNotFoundError: none of :func:`tssbn.records.folders` has the network of this run.
        RuntimeError: the weights do not fit the network that the method builds now.
        ValueError: a name or setting is unknown, or the file is damaged or belongs to another run.

    Example:
        >>> net = network("rooms", "tssbn")
        >>> with torch.no_grad():
        ...     predictions = net(torch.rand(1, 3, 48, 64))
        >>> {task: tuple(y.shape) for task, y in predictions.items()}
        {'segmentation': (1, 4, 48, 64), 'depth': (1, 1, 48, 64), 'normal': (1, 3, 48, 64)}
    """
    from tssbn.training.run import Run

    run = Run(benchmark, method, seed, settings)
    content = _read(run.name)
    with torch.random.fork_rng(devices=[]):  # start values are drawn, and overwritten
        net = run.method.build(
            run.benchmark.network, content["outputs"], **run.options_for(run.method.build)
        )
    net.load_state_dict(content["net"])
    net.tasks_per_pass = run.benchmark.recipe.tasks_per_pass
    if hasattr(net, "progress"):
        net.progress = 1.0
    return net.eval()


def save_network(
    benchmark: str | Path | Benchmark,
    method: str | Path | Method,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    runs: str | Path = "runs",
    root: str | Path | None = None,
) -> Path:
    """Write the network of a finished run's checkpoint beside its saved run, in half precision.

    Args:
        benchmark, method, seed, settings: as for :class:`tssbn.training.run.Run`.
        runs: the folder of checkpoints, as for ``train --runs``.
        root: the folder of the data, whose targets determine the outputs; by default the real set
            is searched for.

    Returns:
        The path of the file, ``<benchmark>/<method>-<seed>.pt`` in ``data/results``.

    Raises:
        FileNotFoundError: there is no checkpoint of the run, or no data.
        ValueError: the run is not finished, or a weight is too large for 16 bits.

    Example:
        >>> save_network("rooms", "tssbn", seed=0)  # doctest: +SKIP
        PosixPath('data/results/rooms/tssbn-0.pt')
    """
    from tssbn.training import checkpoint
    from tssbn.training.run import Run

    run = Run(benchmark, method, seed, settings)
    state = checkpoint.load(Path(runs) / run.name, ("net", "record"))
    if not state["record"]["finished"]:
        raise ValueError(f"{run.name} has made {len(state['record']['epochs'])} epochs: finish it")
    weights = {name: _halved(name, value) for name, value in state["net"].items()}
    targets = run.benchmark.data("test", run.benchmark.folder(root)).targets
    outputs = {task: each.out_channels for task, each in run.benchmark.tasks(targets).items()}
    path = results_dir() / f"{run.name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        sealed.save({"name": run.name, "outputs": outputs, "net": weights}, file)
    return path


def _halved(name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    if not half.isfinite().all():
        raise ValueError(f"{name} has values beyond {torch.finfo(half.dtype).max:.0f}")
    return half


def _read(name: str) -> dict[str, Any]:
    for folder in folders():
        if (path := folder / f"{name}.pt").is_file():
            break
    else:
        places = ", ".join(map(str, folders()))
        raise FileNotFoundError(f"{places} have no network of {name!r}; save_network writes one")
    with open(path, "rb") as file:
        try:
            sealed.verify(file)
        except ValueError as error:
            raise ValueError(f"{path} does not read: {error}") from error
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True)
    if content["name"] != name:
        raise ValueError(f"{path} has the network of {content['name']!r}, not of {name!r}")
    return content
