"""The book's everyday commands; they run the same on every system.

    python tools/book.py run [NAME ...]       run chapters in _build, and build the site from there
    python tools/book.py build                build the site from the stored outputs, strictly
    python tools/book.py sync [NAME ...]      carry edits of the .py files into the notebooks
    python tools/book.py refresh [NAME ...]   the same, then run them and store their outputs
    python tools/book.py alone [NAME ...]     run each notebook in an empty folder, as Colab does

NAME is a chapter such as 01_sigmoid_bn; without one, all chapters are meant. `run` leaves the
checkout as it is: chapters that are not named keep their stored outputs in the site. It works on a
chapter for each core at a time, and `refresh` on one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
COPY = ROOT / "_build/source"  # of what the site is built from, with fresh outputs


def chapters(names: list[str]) -> list[Path]:
    """The .py files of the named chapters, or of all."""
    known = {path.stem: path for path in sorted(BOOK.glob("*.py"))}
    if not known:
        sys.exit("There are no chapters (book/*.py).")
    names = [Path(name).stem for name in names]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"No such chapter: {', '.join(unknown)}. There are: {', '.join(known)}.")
    return [known[name] for name in names or known]


def merged(chapter: Path):
    """The notebook with the text of the .py file and, where a cell is unchanged, its outputs."""
    import jupytext
    from jupytext.combine import combine_inputs_with_outputs

    notebook = jupytext.read(chapter)
    stored = chapter.with_suffix(".ipynb")
    if stored.exists():
        notebook = combine_inputs_with_outputs(notebook, jupytext.read(stored), fmt="py:percent")
    # The same source always gives the same file: no note of how the source was written, and ids by
    # position instead of drawn ones.
    notebook.metadata["jupytext"].pop("text_representation", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
    return notebook


def write(notebook, path: Path) -> None:
    """Write in one step, so that an interruption leaves the old file whole."""
    import nbformat

    draft = path.with_suffix(".new")
    draft.write_bytes((nbformat.writes(notebook) + "\n").encode("utf-8"))
    draft.replace(path)


def execute(notebook, folder: Path) -> None:
    """Run in place, with a kernel of this very Python, or stop and show the failing cell."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    # No folder of installed kernels is searched: what is left is the kernel of this Python.
    kernel = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
    )
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=600,
        coalesce_streams=True,  # one output, however slowly a cell prints
        record_timing=False,  # times of day would make two executions differ
        extra_arguments=["--log-level=ERROR"],  # no word about how it talks to its kernel
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(cleanup_kc=True)  # or the kernel, being handed in, would live on
    except (CellExecutionError, DeadKernelError) as error:
        sys.exit(f"failed; the notebook is left as it was.\n\n{error}")
    except AssertionError:  # so nbclient ends when Ctrl-C has taken its kernel away
        sys.exit("interrupted; the notebook is left as it was.")


def sync(names: list[str]) -> None:
    for chapter in chapters(names):
        write(merged(chapter), chapter.with_suffix(".ipynb"))


def refresh(names: list[str]) -> None:
    # One at a time: chapters measure times, and these are kept.
    store(chapters(names), BOOK, at_once=1)


def run(names: list[str]) -> None:
    todo = chapters(names)
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(BOOK, COPY / "book", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, COPY)
    store(todo, COPY / "book", at_once=os.cpu_count() or 1)
    build(COPY)


def store(todo: list[Path], folder: Path, at_once: int) -> None:
    """Run chapters where they lie, beside the data, and write them into a folder."""
    with ProcessPoolExecutor(at_once) as pool:
        running = {pool.submit(ran, chapter, folder): chapter.stem for chapter in todo}
        try:
            for number, done in enumerate(as_completed(running), 1):
                print(f"[{number}/{len(todo)}] {running[done]} ... ", end="", flush=True)
                print(f"{done.result():.0f} s", flush=True)
        except BaseException:  # no further chapter starts
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def ran(chapter: Path, folder: Path) -> float:
    """Run a chapter, write it into a folder, and give the seconds that it took."""
    start = time.perf_counter()
    notebook = merged(chapter)
    execute(notebook, BOOK)
    write(notebook, folder / f"{chapter.stem}.ipynb")
    return time.perf_counter() - start


def alone(names: list[str]) -> None:
    import nbformat

    for chapter in chapters(names):
        print(f"{chapter.stem} ... ", end="", flush=True)
        notebook = nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder))
        print("ran", flush=True)


def build(source: Path = ROOT) -> None:
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    # -n: every reference must exist; -W: a warning is an error; -q: print nothing but those.
    options = ["build", str(source), "--path-output", str(ROOT)]
    options += ["--all", "-n", "-W", "--keep-going", "-q"]
    done = subprocess.run([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.stdout)
    print(f"The book is at {(ROOT / '_build/html/index.html').as_uri()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (run, sync, refresh, alone):
        named = commands.add_parser(command.__name__)
        named.add_argument("names", nargs="*", metavar="NAME", help="default: all chapters")
        named.set_defaults(command=command)
    commands.add_parser("build").set_defaults(command=build)
    options = vars(parser.parse_args())
    options.pop("command")(**options)


if __name__ == "__main__":
    main()
