"""``python -m tssbn train | methods | benchmarks | table | queue``."""

import argparse
import ast
import math
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from tssbn.records import store as records

__all__ = ["add"]


def add(commands: "argparse._SubParsersAction") -> None:
    """Add the commands that train to those of ``python -m tssbn``."""

    def command(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.set_defaults(run=run)
        return made

    made = command("train", _train, "train a method on a benchmark, and write a record")
    made.add_argument("benchmark", metavar="BENCHMARK", help="see `benchmarks`")
    made.add_argument("--method", required=True, help="see `methods`")
    made.add_argument("--seed", type=int, default=0, help="0 without it")
    made.add_argument("--data", type=Path, metavar="ROOT", help="folder of a real data set")
    made.add_argument("--epochs", type=int, help="the same as --set epochs=EPOCHS")
    _settings(made, "change a field of the recipe, the benchmark, the method or the balancing")
    again = made.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    again.add_argument(
        "--restart", action="store_true", help="delete checkpoint and record, and begin anew"
    )
    made.add_argument("--minutes", type=_minutes, help="stop before an epoch that would end later")
    made.add_argument("--devices", type=int, default=1, help="how many, one process for each")
    made.add_argument(
        "--angles",
        type=int,
        default=0,
        metavar="STEPS",
        help="every so many steps, record the cosines between the tasks' gradients",
    )
    _computing(made)

    command("methods", _methods, "list the methods and their settings")
    command("benchmarks", _benchmarks, "list the benchmarks, their settings and recipes")

    made = command("table", _table, "print the table of a benchmark, from the records")
    made.add_argument("name", metavar="NAME", help="a benchmark, or 1 for table 1 of the paper")
    made.add_argument("--best", action="store_true", help="the best epoch on the test images")
    _settings(made, "of the runs with this setting, instead of those with none")
    _results(made)

    made = command("queue", _queue, "train what a file lists, as far as the time goes")
    made.add_argument("file", nargs="?", type=Path, default=Path("data/queue.toml"))
    made.add_argument("--minutes", type=_minutes, required=True, help="how long")
    made.add_argument(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        type=_pair,
        metavar="BENCHMARK=ROOT",
        help="folder of a real data set",
    )
    made.add_argument("--dry", action="store_true", help="say what would be done, and do nothing")
    _computing(made)


def _settings(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help=text,
    )


def _results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, help="folder of the records; data/results")


def _computing(parser: argparse.ArgumentParser) -> None:
    """What decides how, where and how loudly is trained, not what."""
    parser.add_argument("--precision", default="32", choices=("32", "tf32", "bf16", "16"))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    parser.add_argument("--channels-last", action="store_true", help="the other memory format")
    parser.add_argument(
        "--fast-kernels", action="store_true", help="the fastest of cuDNN, which do not repeat"
    )
    parser.add_argument("--note", default="", help="for the record")
    parser.add_argument("--quiet", action="store_true", help="a line for each epoch, no bar")
    parser.add_argument("--tensorboard", type=Path, metavar="DIR", help="write for TensorBoard")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of checkpoints")
    _results(parser)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    return key, value


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes, 0 or more")
    return value


def _setting(text: str) -> tuple[str, Any]:
    """A Python literal where the value is one, else a string."""
    key, value = _pair(text)
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def _watch(options: argparse.Namespace) -> Any:
    from tssbn.training.progress import Bar, Lines, Several, TensorBoard

    watch = Lines() if options.quiet else Bar()
    return Several([watch, TensorBoard(options.tensorboard)]) if options.tensorboard else watch


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

    from tssbn.training import checkpoint, queue
    from tssbn.training.loop import train
    from tssbn.training.run import Run

    limited = options.minutes is not None
    deadline = time.monotonic() + 60 * options.minutes if limited else None
    settings = dict(options.set)
    if options.epochs is not None:
        settings["epochs"] = options.epochs
    run = Run(options.benchmark, options.method, options.seed, settings)
    root = run.benchmark.folder(options.data)
    results, folder = options.results or records.results(), options.runs / run.name
    record, last = results / f"{run.name}.json", folder / checkpoint.LAST
    first = rank_zero_only.rank == 0
    if first and options.restart:
        run.benchmark.data("train", root)  # before anything is deleted: is it there?
        with checkpoint.claim(folder):
            for path in last, folder / checkpoint.BEFORE, record:
                path.unlink(missing_ok=True)
    if record.exists() and not options.restart:
        if first:
            queue.saved(record)  # or it says that it is none
            print(f"{run.name} is finished: {record}; --restart trains it anew")
        return 0
    if first and last.exists() and not options.resume:
        raise ValueError(
            f"{run.name} was begun already: --resume goes on from {last}, --restart begins anew"
        )
    try:
        with closing(_watch(options)) as watch:
            trained = train(
                run,
                folder,
                root,
                resume=options.resume,
                devices=options.devices,
                angles=options.angles,
                deadline=deadline,
                watch=watch,
                **_how(options),
            )
    except KeyboardInterrupt:
        hint = "--resume goes on from the last whole epoch" if last.exists() else "nothing is kept"
        print(f"stopped; {hint}", file=sys.stderr)
        return 130
    if first and trained.record["finished"]:
        path = queue.write(run, trained.record, results)
        print(_scores(trained.record), path, sep="\n")
    elif first:
        done, epochs = len(trained.record["epochs"]), run.benchmark.recipe.epochs
        print(f"stopped in time after {done} of {epochs} epochs; --resume goes on")
    return 0


def _scores(record: Mapping[str, Any]) -> str:
    """What a run reports, by task; of many tasks their mean."""
    from tssbn.training.progress import MANY

    chosen = records.summary(record)
    rows = []
    for task, metric in record["metric"].items():
        values = (chosen[which][task] for which in ("test", "best"))
        rows.append((task, metric, *(math.nan if value is None else value for value in values)))
    if len(rows) > MANY:
        means = [sum(row[i] for row in rows) / len(rows) for i in (2, 3)]
        rows = [(f"mean of {len(rows)}", rows[0][1], *means)]
    last = chosen["epochs"][-1]
    which = f"epochs {chosen['epochs'][0]}-{last}" if len(chosen["epochs"]) > 1 else f"epoch {last}"
    lines = [("", "", which, f"best, epoch {chosen['best_epoch']}")]
    for task, metric, *values in rows:
        factor, sign = records.unit(metric)
        lines.append((task, metric, *(f"{factor * value:.4g}{sign}" for value in values)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _methods(options: argparse.Namespace) -> int:
    from tssbn.methods import METHODS, find_method
    from tssbn.training.settings import options_of

    for name in METHODS:
        method = find_method(name)
        build = method.build.func if isinstance(method.build, partial) else method.build
        _print(
            f"{name} ({method.title})",
            method.about or _first_paragraph(sys.modules[build.__module__]),
            settings={
                key: getattr(value, "__name__", value)
                for key, value in options_of(method.build, method.groups).items()
            },
        )
    return 0


def _benchmarks(options: argparse.Namespace) -> int:
    from tssbn.benchmarks import BENCHMARKS, find_benchmark
    from tssbn.training.settings import options_of

    for name in BENCHMARKS:
        make = find_benchmark(name)
        recipe = asdict(make().recipe)
        text = _first_paragraph(sys.modules[make.__module__])
        _print(name, text, settings=options_of(make), recipe=recipe)
    return 0


def _first_paragraph(module: ModuleType) -> str:
    return " ".join(module.__doc__.split("\n\n")[0].split())


def _print(head: str, text: str, **values: Mapping[str, Any]) -> None:
    """A name, what it is, and lists of values."""
    lines = [text]
    for kind, pairs in values.items():
        if pairs:
            lines.append(f"{kind}: " + " ".join(f"{key}={value}" for key, value in pairs.items()))
    indent = {"width": 100, "initial_indent": "  ", "subsequent_indent": "    "}
    print(head, *(textwrap.fill(line, **indent) for line in lines), sep="\n")


def _table(options: argparse.Namespace) -> int:
    from tssbn.benchmarks import find_benchmark
    from tssbn.records.table import TABLES, table

    settings, seen, tables = dict(options.set), [], []
    for name in TABLES.get(options.name, (options.name,)):
        benchmark = find_benchmark(name)()
        found = records.found(benchmark.name, options.results)
        if options.name in TABLES and benchmark.source != name and not found:
            continue  # a shorter or smaller form that nobody ran
        chosen = [r for r in found if r["settings"] == _meant_for(r["method"], settings)]
        tables.append(table(benchmark, chosen, options.best))
        seen += [record["settings"] for record in found]
    if settings and not seen:
        raise ValueError(f"there is no record of {options.name}")
    if settings and settings not in seen:
        wanted = " ".join(f"{key}={value}" for key, value in settings.items())
        known = sorted({key for of_record in seen for key in of_record})
        raise ValueError(
            f"there is no record with the settings {wanted}; those that there are differ from the "
            f"recipes in {', '.join(known) or 'nothing'}"
        )
    print(*tables, sep="\n\n")
    return 0


def _meant_for(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the options that only other methods have."""
    from tssbn.methods import METHODS, find_method
    from tssbn.training.settings import options_of

    known = {name: find_method(name) for name in METHODS}
    options = {name: options_of(each.build, each.groups) for name, each in known.items()}
    foreign = {key for of_method in options.values() for key in of_method}
    foreign -= set(options.get(method, ()))
    return {key: value for key, value in settings.items() if key not in foreign}


def _queue(options: argparse.Namespace) -> int:
    from tssbn.training import queue

    jobs = queue.load_queue(options.file, dict(options.data))
    results = options.results or records.results()
    seconds = 60 * options.minutes
    if options.dry:
        states = [queue.status(job, options.runs, results) for job in jobs]
        print(queue.plan_queue(states, seconds))
        failed = queue.unreadable(jobs, results)
        failed |= {state.job.run.name: state.problem for state in states if state.problem}
    else:
        with closing(_watch(options)) as watch:
            failed = queue.run_queue(jobs, seconds, options.runs, results, watch, **_how(options))
        states = [queue.status(job, options.runs, results) for job in jobs if job.data]
        if left := [state for state in states if not state.finished]:
            minutes = sum(state.left for state in left) / 60
            print(f"{len(left)} of {len(jobs)} runs are left, {minutes:.1f} minutes in all")
    for name, error in failed.items():
        print(f"failed: {name}: {error}", file=sys.stderr)
    return 1 if failed else 0
