"""``python -m tssbn COMMAND``: the commands of the package."""

import argparse
import sys
from collections.abc import Sequence

from tssbn._install import install
from tssbn.data import command as data
from tssbn.timing import command as bench
from tssbn.training import command as training

# What a wrong argument, a file or the machine can cause; anything else is a fault of ours.
EXPECTED = (OSError, ValueError, ImportError, NotImplementedError, FloatingPointError, MemoryError)
# Modules with add(commands): a parser each, with `run` as its default.
COMMANDS = (data, training, bench)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: instead of those of the command line.

    Returns:
        The exit status: 0 where all is well, 1 where not, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="python -m tssbn", description=__doc__.split(": ")[1])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add(commands)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except ModuleNotFoundError as error:
        print(f"error: {error}; {install('train')} brings what is needed", file=sys.stderr)
        return 1
    except EXPECTED as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
