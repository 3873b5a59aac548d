"""``python -m tssbn COMMAND``: the commands of the package."""

import argparse
import os
import sys
from collections.abc import Sequence

from tssbn import __version__
from tssbn._install import install
from tssbn.data import command as data
from tssbn.networks.stages import UnsuitableTrunk
from tssbn.records import command as records
from tssbn.timing import command as timing
from tssbn.training import command as training
from tssbn.training import lists

# What a wrong argument, a file or the machine can cause; anything else is a fault of ours.
EXPECTED = (
    *(OSError, ValueError, ImportError, NotImplementedError, FloatingPointError, MemoryError),
    UnsuitableTrunk,
)
# Modules with add(commands): a parser each, with `run` as its default.
COMMANDS = (training, lists, records, data, timing)
DESCRIPTION = "The commands of tssbn. `python -m tssbn COMMAND --help` describes each."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; without any, print which there are.

    Args:
        arguments: instead of those of the command line.

    Returns:
        The exit status: 0 where all is well, 1 where not, 130 after Ctrl-C.
    """
    for stream in sys.stdout, sys.stderr:
        if hasattr(stream, "reconfigure"):  # a terminal without σ shows another sign
            stream.reconfigure(errors="replace")
    parser = argparse.ArgumentParser(prog="python -m tssbn", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"tssbn {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # a reader such as head had enough: nothing else goes to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        print(f"error: {error}; {install('train')} installs what is missing", file=sys.stderr)
        return 1
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        hint = "; the same command continues from here" * getattr(options, "continues", False)
        print(f"stopped{hint}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
