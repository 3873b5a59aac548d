"""Processes that find imported what training needs: forked from one that did it for all tests."""

import multiprocessing
import sys

METHOD = "forkserver" if sys.platform == "linux" else "spawn"  # else no loaded torch may be forked
CONTEXT = multiprocessing.get_context(METHOD)
if METHOD == "forkserver":
    CONTEXT.set_forkserver_preload(
        ["pytest", "timm", "torch.distributed.run", "tssbn.training.loop", "tssbn.timing.memory"]
    )


def run(function, *arguments):
    """The exit status of a process that calls a function of a module."""
    process = CONTEXT.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode
