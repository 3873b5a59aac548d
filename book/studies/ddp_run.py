"""What the commands of the page "Several devices, several machines" print, with two processes.

    python book/studies/ddp_run.py           # about five minutes of a shared CPU core

Runs the commands of the page and its program one after another in an empty folder, and saves each
with what it printed.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tssbn import records

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book/scaling.py"
TORCHRUN = "torchrun --standalone --nproc-per-node 2"
TRAIN = "-m tssbn train rooms --method tssbn --device cpu --quiet --set batch=8"
SMALL = "n=64 epochs=3 height=32 width=32 filters=4"
LONG = "n=256 epochs=8 filters=12"
COMMANDS = {
    "torchrun": f"{TORCHRUN} {TRAIN} {SMALL}",
    "devices": f"python {TRAIN} {SMALL} --devices 2 --restart",
    "one": f"python {TRAIN} {SMALL} --runs one --results one",
    "stop": f"{TORCHRUN} {TRAIN} {LONG} --minutes 0.5",
    "resume": f"{TORCHRUN} {TRAIN} {LONG} --resume",
    "loop": f"{TORCHRUN} own_loop.py",
}


def main(folder: Path | None = None) -> None:
    """Run all commands and write the record."""
    ran = {}
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "own_loop.py").write_text(program(), encoding="utf-8")
        for name, command in COMMANDS.items():
            ran[name] = {"command": command, "printed": printed(command, place)}
            print(f"$ {command}\n{ran[name]['printed']}\n", flush=True)
    if "stopped in time after 0" in (said := ran["stop"]["printed"]) or "stopped" not in said:
        raise RuntimeError("--minutes did not stop the run between two epochs: change it")
    record = {**records.environment(), "processes": 2, "backend": "gloo", "commands": ran}
    print(records.write("ddp/run", record, folder))


def program() -> str:
    """The program of the page: its Python block that begins with the name of the file."""
    text = re.sub(r"^# ?", "", PAGE.read_text(encoding="utf-8"), flags=re.M)
    (found,) = re.findall(r"^```python\n(# own_loop\.py\n.*?)^```", text, re.S | re.M)
    return found


def printed(command: str, folder: str) -> str:
    """Standard output of a command, on one thread."""
    program, *rest = shlex.split(command)
    module = ["-m", "torch.distributed.run"] if program == "torchrun" else []
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, *module, *rest],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument(
        "--results",
        dest="folder",
        type=Path,
        help="folder of the saved files; default: data/results",
    )
    main(**vars(parser.parse_args()))
