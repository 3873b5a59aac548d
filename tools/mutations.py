"""Break a formula of the core, run its tests, and see that they notice; one formula at a time.

    python tools/mutations.py

Each formula is broken in a copy; the checkout stays as it is. A broken formula that no test notices
makes the exit status 1. Only the tests named beside a formula are run, so that the whole list takes
about a minute.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Mutation(NamedTuple):
    """What is broken, where, the code and the broken code, and the tests that must notice."""

    what: str
    file: str
    code: str
    broken: str
    tests: tuple[str, ...]


LAYERS = ("core/test_tasks.py::test_layers_by_hand_are_the_equation",)
SUBSET = ("core/test_tasks.py::test_equation_3_is_the_general_path_over_any_host",)
OPTIM = ("core/test_optim.py",)
CONVERT = ("core/test_convert.py",)
GATES = ("core/test_gates.py",)
MUTATIONS = [
    Mutation("σ dropped from σBN", "norm/sigmoid.py",
             "gate = torch.sigmoid(self.gamma)\n", "gate = self.gamma\n",
             ("core/test_norm.py::test_batch_norm_is_the_equation",)),
    Mutation("σ dropped from TSσBN", "norm/task_sigmoid.py",
             "gates = self.rows(self.gamma).sigmoid()  # (t, C)\n        mean",
             "gates = self.rows(self.gamma)\n        mean", LAYERS),
    Mutation("σ dropped from TSσLN", "norm/task_sigmoid.py",
             "gates = self.rows(self.gamma).sigmoid()  # (t, C)\n        of_tasks",
             "gates = self.rows(self.gamma)\n        of_tasks", LAYERS),
    Mutation("σ dropped from TSσ over any host", "norm/task_sigmoid.py",
             "gates = gamma.sigmoid()\n", "gates = gamma\n",
             ("core/test_task_specific.py::test_one_task_is_the_ordinary_layer",)),
    Mutation("statistics of the first tasks for all", "norm/task_sigmoid.py",
             "mean, var = self.rows(self.running_mean).view(-1), ",
             "mean, var = self.running_mean[: self.tasks.now.count].view(-1), ", SUBSET),
    Mutation("a bias added to σBN", "norm/sigmoid.py",
             "return self._bias(self.beta, self.gamma)", "return torch.ones_like(self.gamma)",
             ("core/test_norm.py::test_batch_norm_is_the_equation",)),
    Mutation("a bias added to TSσBN", "norm/task_sigmoid.py",
             "gates.flatten(), None, training", "gates.flatten(), gates.flatten(), training",
             LAYERS),
    Mutation("a new task's gates start from the mean", "norm/task_sigmoid.py",
             'torch.zeros_like(value[0]) if name == "gamma" else super().new_row(name, value)',
             "super().new_row(name, value)", ("core/test_multitask.py::test_add_task",)),
    Mutation("rows task-major instead of image-major", "stacking.py",
             "x.repeat_interleave(times, 0)", "x.repeat(times, *[1] * (x.ndim - 1))",
             ("core/test_tasks.py::test_rows_are_stacked_and_split_image_by_image",)),
    Mutation("tasks and parts of an image swapped", "tasks.py",
             "x.unflatten(0, (images, now.count, parts)).transpose(1, 2).flatten(0, 1)",
             "x.unflatten(0, (images, parts, now.count)).flatten(0, 1)",
             ("core/test_task_specific.py::test_windows_of_an_image_keep_their_task",)),
    Mutation("the head of another task", "stacking.py",
             "each = x.unflatten(0, (images, times)).unbind(1)",
             "each = x.unflatten(0, (images, times)).unbind(1)[::-1]",
             ("core/test_multitask.py::test_one_call_is_a_pass_for_each_task",)),
    Mutation("deferred gates forgotten", "passes.py",
             'gates, self.gates, self.stem = self.gates, None, ""',
             'gates, self.gates, self.stem = None, None, ""',
             ("core/test_multitask.py::test_shared_stem_is_exact",)),
    Mutation("gates said to commute with GELU", "stem.py",
             "*(nn.Identity, nn.ReLU,", "*(nn.Identity, nn.GELU, nn.ReLU,",
             ("core/test_multitask.py::test_gates_do_not_defer_past_what_they_do_not_commute_with",)),
    Mutation("gates at the base learning rate", "optim.py",
             '"lr": multiplier * lr', '"lr": lr', OPTIM),
    Mutation("gates decay", "optim.py",
             '"params": gates, "lr": multiplier * lr, "weight_decay": 0.0',
             '"params": gates, "lr": multiplier * lr, "weight_decay": weight_decay or 0.0', OPTIM),
    Mutation("preserve forgets the factor two", "convert.py",
             '"scale": 2 * weight', '"scale": weight', CONVERT),
    Mutation("preserve forgets the bias", "convert.py",
             '"beta": bias, "scale": 2', '"beta": None, "scale": 2', CONVERT),
    Mutation("the projection keeps the row itself", "gates/measures.py",
             "(first, middle, rows[middle:last])", "(first, middle, rows[first:last])", GATES),
    Mutation("specialised by importance, not by its share", "gates/measures.py",
             "return (rows / total).nan_to_num(0.0)", "return rows", GATES),
]  # fmt: skip


def noticed(mutation: Mutation) -> bool:
    """Whether one of the tests fails on a copy of the project with the code replaced.

    To be called in a process of its own that has not imported the package.
    """
    with tempfile.TemporaryDirectory() as folder:
        for part in "tssbn", "tests", "pyproject.toml":
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, Path(folder, part))
        target = Path(folder, "tssbn", mutation.file)
        text = target.read_text(encoding="utf-8").replace(mutation.code, mutation.broken)
        target.write_text(text, encoding="utf-8")
        sys.path.insert(0, folder)
        os.chdir(folder)
        tests = [f"tests/{test}" for test in mutation.tests]
        with redirect_stdout(StringIO()) as printed:
            status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])
        os.chdir(ROOT)
        if status not in (0, 1):  # no test ran
            raise RuntimeError(f"{mutation.what}: {' '.join(tests)}: {printed.getvalue()}")
        return status == 1


def unmatched() -> list[str]:
    """Mutations whose code does not stand in its file exactly once."""
    return [
        mutation.what
        for mutation in MUTATIONS
        if (ROOT / "tssbn" / mutation.file).read_text(encoding="utf-8").count(mutation.code) != 1
    ]


def main() -> int:
    if strangers := unmatched():
        sys.exit(f"the code of these mutations is not there exactly once: {strangers}")
    tests = tuple(dict.fromkeys(test for mutation in MUTATIONS for test in mutation.tests))
    whole = Mutation("nothing", "norm/sigmoid.py", "σ", "σ", tests)
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    # What takes seconds to import, once instead of 20 times.
    context.set_forkserver_preload(["torch", "hypothesis", "nbval.plugin", "pytest_cov.plugin"])
    with context.Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        unbroken, *results = pool.map(noticed, [whole, *MUTATIONS], chunksize=1)
    if unbroken:
        sys.exit("the tests fail on the unbroken code")
    for mutation, found in zip(MUTATIONS, results, strict=True):
        print(f"{'noticed ' if found else 'SURVIVED'}  {mutation.what}")
    print(f"{sum(results)} of {len(MUTATIONS)} broken formulas noticed")
    return int(not all(results))


if __name__ == "__main__":
    form = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=form).parse_args()
    sys.exit(main())
