"""``python -m tssbn train | queue``."""

import argparse
import math
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tssbn import records
from tssbn.arguments import add_command, add_results, add_settings, minutes, pair, writable
from tssbn.columns import columns

__all__ = ["add"]


def add(commands: "argparse._SubParsersAction") -> None:
    """Add the commands that train to those of ``python -m tssbn``."""
    made = add_command(commands, "train", _train, "train a method on a benchmark, and save the run")
    made.add_argument(
        "benchmark", metavar="BENCHMARK", help="a name that `benchmarks` lists, or a file, X.py"
    )
    made.add_argument(
        "--method", required=True, help="a name that `methods` lists, or a file, X.py"
    )
    made.add_argument("--seed", type=int, default=0, help="default: 0")
    made.add_argument(
        "--data",
        type=Path,
        metavar="ROOT",
        help="folder of the data; default: $TSSBN_DATA/NAME, data/NAME or ../data/NAME",
    )
    made.add_argument("--epochs", type=int, help="the same as --set epochs=EPOCHS")
    add_settings(made, "change a field of the recipe, the benchmark, the method or the balancing")
    again = made.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="continue a run that was stopped")
    again.add_argument(
        "--restart", action="store_true", help="delete checkpoint and saved run, and begin again"
    )
    made.add_argument(
        "--minutes", type=minutes, help="stop before an epoch that would end after this time"
    )
    made.add_argument(
        "--devices", type=int, default=1, help="number of devices, with one process for each"
    )
    made.add_argument(
        "--angles",
        type=int,
        default=0,
        metavar="STEPS",
        help="every STEPS steps, save the cosines between the tasks' gradients",
    )
    _computing(made)

    made = add_command(
        commands, "queue", _queue, "train the runs that a file lists, within a time limit"
    )
    made.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=Path("data/queue.toml"),
        help="default: data/queue.toml",
    )
    made.set_defaults(continues=True)
    made.add_argument("--minutes", type=minutes, required=True, help="time limit")
    made.add_argument(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        type=pair,
        metavar="BENCHMARK=ROOT",
        help="folder of the data of a benchmark",
    )
    made.add_argument("--dry", action="store_true", help="print the plan, and train nothing")
    _computing(made)


def _computing(parser: argparse.ArgumentParser) -> None:
    """What decides how, where and how loudly is trained, not what."""
    parser.add_argument(
        "--precision",
        default="32",
        choices=("32", "tf32", "bf16", "16"),
        help="arithmetic; default: 32",
    )
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda", "mps"),
        help="default: auto, a GPU if there is one",
    )
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument(
        "--channels-last", action="store_true", help="use the memory format channels last"
    )
    parser.add_argument(
        "--fast-kernels",
        action="store_true",
        help="let cuDNN choose its fastest kernels, which differ in the last bits",
    )
    parser.add_argument("--note", default="", help="text that is stored in the saved run")
    parser.add_argument(
        "--quiet", action="store_true", help="print a line for each epoch, without a progress bar"
    )
    parser.add_argument(
        "--tensorboard", type=Path, metavar="DIR", help="write logs for TensorBoard"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of the checkpoints; default: runs"
    )
    add_results(parser)


def _callback(options: argparse.Namespace) -> Any:
    from tssbn.training.progress import CallbackList, LineLog, ProgressBar, TensorBoard

    terminal = sys.stderr.isatty()  # where the bar is: a file would hold each of its updates
    shown = ProgressBar() if terminal and not options.quiet else LineLog()
    return CallbackList([shown, TensorBoard(options.tensorboard)]) if options.tensorboard else shown


def _folders(options: argparse.Namespace) -> tuple[Path, Path]:
    """Those of the records and of the checkpoints, which can be written."""
    results = writable("--results", options.results or records.results_dir())
    return results, writable("--runs", options.runs)


def _how(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``train`` that are the same for every run."""
    return {
        "precision": options.precision,
        "accelerator": options.device,
        "compile": options.compile,
        "channels_last": options.channels_last,
        "fast_kernels": options.fast_kernels,
        "note": options.note,
    }


def _train(options: argparse.Namespace) -> int:
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    from tssbn.training import checkpoint, queue, states
    from tssbn.training.loop import train
    from tssbn.training.run import Run

    limited = options.minutes is not None
    deadline = time.monotonic() + 60 * options.minutes if limited else None
    settings = dict(options.set)
    if options.epochs is not None:
        settings["epochs"] = options.epochs
    run = Run(options.benchmark, options.method, options.seed, settings)
    root = run.benchmark.folder(options.data)
    if run.benchmark.source and not Path(root).is_dir():
        raise FileNotFoundError(
            f"--data {root} is not a folder; `python -m tssbn data where {run.benchmark.source}` "
            "prints where to get the data"
        )
    results, runs = _folders(options)
    folder = runs / run.name
    record, last = results / f"{run.name}.json", folder / checkpoint.LAST
    first = rank_zero_only.rank == 0
    if first and options.restart:
        run.benchmark.data("train", root)  # before anything is deleted: is it there?
        with checkpoint.lock(folder):
            for path in last, folder / checkpoint.BEFORE, record:
                path.unlink(missing_ok=True)
    if record.exists() and not options.restart:
        if first:
            states.saved(record)  # or it says that it is none
            print(f"{run.name} is finished: {record}; --restart trains it again")
        return 0
    if first and last.exists() and not options.resume:
        raise ValueError(
            f"{run.name} was begun already: --resume continues from {last}, --restart begins again"
        )
    try:
        with closing(_callback(options)) as callback:
            trained = train(
                run,
                folder,
                root,
                resume=options.resume,
                devices=options.devices,
                angles=options.angles,
                deadline=deadline,
                callback=callback,
                **_how(options),
            )
    except KeyboardInterrupt:
        hint = (
            "--resume continues after the last finished epoch"
            if last.exists()
            else "nothing was saved"
        )
        print(f"stopped; {hint}", file=sys.stderr)
        return 130
    if first and trained.record["finished"]:
        path = queue.write(run, trained.record, results)
        print(_scores(trained.record), path, sep="\n")
    elif first:
        done, epochs = len(trained.record["epochs"]), run.benchmark.recipe.epochs
        plural = "s" * (epochs > 1)
        print(f"stopped in time after {done} of {epochs} epoch{plural}; --resume continues")
    return 0


def _scores(record: Mapping[str, Any]) -> str:
    """What a run reports, by task; of many tasks their mean."""
    from tssbn.training.progress import MANY

    chosen, units = records.summary(record), record.get("units", {})
    rows = []
    for task, metric in record["metric"].items():
        factor, sign = records.display_unit(metric, units.get(task))
        values = (chosen[which][task] for which in ("test", "best"))
        values = (math.nan if value is None else factor * value for value in values)
        rows.append((task, metric, sign, *values))
    if len(rows) > MANY:
        means = [sum(row[i] for row in rows) / len(rows) for i in (3, 4)]
        rows = [(f"mean of {len(rows)}", *rows[0][1:3], *means)]
    last = chosen["epochs"][-1]
    which = f"epochs {chosen['epochs'][0]}-{last}" if len(chosen["epochs"]) > 1 else f"epoch {last}"
    lines = [("", "", which, f"best, epoch {chosen['best_epoch']}")]
    for task, metric, sign, *values in rows:
        lines.append((task, metric, *(records.with_unit(value, sign) for value in values)))
    return "\n".join(columns(lines))


def _queue(options: argparse.Namespace) -> int:
    from tssbn.training.jobs import load_queue
    from tssbn.training.queue import run_queue
    from tssbn.training.states import plan_queue, status, unreadable

    jobs = load_queue(options.file, dict(options.data))
    seconds = 60 * options.minutes
    results, runs = options.results or records.results_dir(), options.runs
    if options.dry:
        states = [status(job, runs, results) for job in jobs]
        print(plan_queue(states, seconds))
        failed = unreadable(jobs, results)
        failed |= {state.job.run.name: state.problem for state in states if state.problem}
    else:
        results, runs = _folders(options)
        with closing(_callback(options)) as callback:
            failed = run_queue(jobs, seconds, runs, results, callback, **_how(options))
        states = [status(job, runs, results) for job in jobs if job.data]
        if left := [state for state in states if not state.finished]:
            minutes = sum(state.left for state in left) / 60
            print(
                f"{len(left)} of {len(jobs)} runs are left; they take {minutes:.1f} minutes in all"
            )
    for name, error in failed.items():
        print(f"failed: {name}: {error}", file=sys.stderr)
    return 1 if failed else 0
