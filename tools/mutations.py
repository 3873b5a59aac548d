"""Break a formula of the core, run its tests, and see that they notice; one formula at a time.

    python tools/mutations.py

A survivor (a broken formula that no test notices) makes the exit status 1.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = [f"tests/test_{name}.py" for name in
         ("norm", "task_specific", "convert", "optim", "gates", "multitask")]  # fmt: skip

# what is broken, file, code, broken code
MUTATIONS = [
    ("σ dropped from σBN", "norm.py",
     "gate = torch.sigmoid(self.gamma)\n", "gate = self.gamma\n"),
    ("σ dropped from TSσBN", "norm.py",
     "gate = torch.sigmoid(self.gamma[self.selection.rows])",
     "gate = self.gamma[self.selection.rows]"),
    ("statistics of the first task for all", "norm.py",
     'return self._now(self._buffers["running_mean"])',
     'return self._buffers["running_mean"][0].repeat(len(self.selection.tasks))'),
    ("rows task-major instead of image-major", "selection.py",
     "v.unsqueeze(1).expand(-1, tasks, *v.shape[1:]).flatten(0, 1)",
     "v.unsqueeze(0).expand(tasks, *v.shape).flatten(0, 1)"),
    ("tasks and parts of an image swapped", "norm.py",
     "x.unflatten(0, (images, count, parts)).transpose(1, 2)",
     "x.unflatten(0, (images, parts, count))"),
    ("a bias added to σBN", "norm.py",
     "        return self.beta\n\n    def reset_parameters",
     "        return torch.ones_like(self.gamma)\n\n    def reset_parameters"),
    ("a bias added to TSσBN", "norm.py",
     "return (gate if self.scale is None else self.scale * gate).flatten(0, 1)\n\n"
     "    @property\n    def bias(self) -> Tensor | None:\n        return self._now(self.beta)",
     "return (gate if self.scale is None else self.scale * gate).flatten(0, 1)\n\n"
     "    @property\n    def bias(self) -> Tensor | None:\n        return self.weight"),
    ("gates at the base learning rate", "optim.py", '"lr": multiplier * lr', '"lr": lr'),
    ("gates decay", "optim.py",
     '"params": gates, "lr": multiplier * lr, "weight_decay": 0.0',
     '"params": gates, "lr": multiplier * lr, "weight_decay": weight_decay'),
    ("preserve forgets the factor two", "convert.py", "bias, 2 * weight)", "bias, weight)"),
    ("preserve forgets the bias", "convert.py", "bias, 2 * weight)", "None, 2 * weight)"),
    ("the head of another task", "selection.py",
     "v.unflatten(0, (images, tasks))[:, position]",
     "v.unflatten(0, (images, tasks))[:, 0]"),
    ("a new task's gates start from the mean", "norm.py",
     'elif name == "gamma" and isinstance(self, TaskSigmoidNorm):', "elif False:"),
    ("the projection keeps the row itself", "gates.py",
     "torch.cat([rows[:t], rows[t + 1 :]]).T", "rows.T"),
    ("specialised by importance, not by its share", "gates.py",
     "(rows / rows.sum(dim=0)).max(dim=0)", "rows.max(dim=0)"),
]  # fmt: skip


def noticed(file: str, code: str, broken: str) -> bool:
    """Whether a test fails on a copy of the project with `code` replaced."""
    with tempfile.TemporaryDirectory() as folder:
        for part in "tssbn", "tests", "pyproject.toml":
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, Path(folder, part))
        target = Path(folder, "tssbn", file)
        text = target.read_text(encoding="utf-8")
        if text.count(code) != 1:
            sys.exit(f"{file} holds this {text.count(code)} times, not once: {code}")
        target.write_text(text.replace(code, broken), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS]
        return subprocess.run(command, cwd=folder, capture_output=True).returncode == 1


def main() -> int:
    _, file, code, _ = MUTATIONS[0]
    if noticed(file, code, code):
        sys.exit("the tests fail on the unbroken code")
    survivors = 0
    for what, *mutation in MUTATIONS:
        found = noticed(*mutation)
        survivors += not found
        print(f"{'noticed ' if found else 'SURVIVED'}  {what}", flush=True)
    print(f"{len(MUTATIONS) - survivors} of {len(MUTATIONS)} broken formulas noticed")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
