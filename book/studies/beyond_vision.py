"""Beyond vision: four questions about the names of characters, one small Transformer.

    python book/studies/beyond_vision.py [--seeds 3]

Every character of Unicode has a name of a few words, such as ARABIC LETTER WAW FINAL FORM. From the
name alone the network is to tell

- category: what it is (letter, digit, mathematical sign, ...),
- direction: which way text with it runs,
- decomposition: whether it is made of other characters, and in which way (font, circle, ...),
- width: whether East Asian text sets it wide, narrow or either way.

Names and answers ship with Python, `unicodedata.ucd_3_2_0`: a version that stays, so that the data
are the same on every machine.

Layer normalisation has no running statistics. What TSσBN has for each task is then the gate alone.
"""

import argparse
import copy
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import Generator, Tensor, nn

import tssbn
from tssbn.norm import TaskSigmoidNorm
from tssbn.tasks import find_tasks
from tssbn.cost import parameters
from tssbn.records import environment, pack_gates, write

TASKS = ("category", "direction", "decomposition", "width")
WORDS = 8  # of a name; the few that are longer are left out
TRAIN, TEST = 4000, 2000
RARE = 10  # an answer that fewer training names have is not scored
WIDTH, LAYERS = 32, 2
STEPS, BATCH, LR = 300, 64, 1e-2  # the rate: the better of 3e-3 and 1e-2 for HPS, seed 100
NORMS = {  # what makes the trunk task-specific
    "tsln": {"norm": "plain"},
    "tssln": {"norm": "sigmoid"},
    "tssln-preserve": {"norm": "sigmoid", "affine": "preserve"},  # 2·σ(γ_t)·x̂ + β_t
}
RUNS = (  # method, multiplier
    ("stl", 1),
    ("hps", 1),
    ("tsln", 1),
    ("tsln", 10),
    ("tssln", 1),
    ("tssln", 10),
    ("tssln", 100),
    ("tssln-preserve", 1),
    ("tssln-preserve", 10),
)


class Names(NamedTuple):
    """Names of characters as numbers of words, and the answers.

    Attributes:
        words: (N, WORDS), 0 where the name has ended, 1 for a word that is not known.
        answers: by task (N,); -1 for one that no training name has.
    """

    words: Tensor
    answers: Mapping[str, Tensor]


class Data(NamedTuple):
    """Training and test names; how many words are known; by task, the possible answers."""

    train: Names
    test: Names
    known: int
    classes: Mapping[str, tuple[str, ...]]


def characters() -> list[tuple[list[str], dict[str, str]]]:
    """The words of each name and its answers, in the order of Unicode.

    Names that only spell a number or a syllable (ideographs, Hangul, Yi) are left out.
    """
    database = unicodedata.ucd_3_2_0
    found = []
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        if not (name := database.name(sign, "")):
            continue
        words = name.replace("-", " ").split()
        spelled = name.endswith(f"-{code:X}") or words[:2] in (
            ["HANGUL", "SYLLABLE"],
            ["YI", "SYLLABLE"],
        )
        if spelled or len(words) > WORDS:
            continue
        parts = database.decomposition(sign).split()
        made = parts[0] if parts and parts[0].startswith("<") else "canonical"
        answers = {
            "category": database.category(sign),
            "direction": database.bidirectional(sign),
            "decomposition": made if parts else "none",
            "width": database.east_asian_width(sign),
        }
        found.append((words, answers))
    return found


@cache
def data() -> Data:
    """Training and test names, drawn once for all seeds; words are known that two of them have."""
    every = characters()
    order = torch.randperm(len(every), generator=Generator().manual_seed(0)).tolist()
    train, test = ([every[i] for i in part] for part in (order[:TRAIN], order[-TEST:]))
    counts = Counter(word for words, _ in train for word in set(words))
    known = {word: i for i, word in enumerate(sorted(w for w in counts if counts[w] > 1), 2)}
    classes = {t: tuple(sorted({answers[t] for _, answers in train})) for t in TASKS}

    def coded(rows: Sequence[tuple[list[str], dict[str, str]]]) -> Names:
        words = torch.zeros(len(rows), WORDS, dtype=torch.long)
        for i, (name, _) in enumerate(rows):
            words[i, : len(name)] = torch.tensor([known.get(word, 1) for word in name])
        number = {t: {answer: i for i, answer in enumerate(classes[t])} for t in TASKS}
        return Names(
            words,
            {
                t: torch.tensor([number[t].get(answers[t], -1) for _, answers in rows])
                for t in TASKS
            },
        )

    return Data(coded(train), coded(test), len(known) + 2, classes)


class Trunk(nn.Module):
    """A Transformer over words (B, WORDS); the mean over the words of a name, (B, WIDTH)."""

    def __init__(self, known: int):
        super().__init__()
        self.word = nn.Embedding(known, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(WORDS, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False
        )

    def forward(self, words: Tensor) -> Tensor:
        there = words > 0
        x = self.encoder(self.word(words) + self.place, src_key_padding_mask=~there)
        return (x * there[..., None]).sum(1) / there.sum(1, keepdim=True)


def build(method: str, seed: int, tasks: Sequence[str] = TASKS) -> tssbn.MultiTask:
    """One trunk and a linear head for each task."""
    torch.manual_seed(seed)
    trunk = Trunk(data().known)
    heads = {task: nn.Linear(WIDTH, len(data().classes[task])) for task in tasks}
    if method in NORMS:
        trunk = tssbn.task_specific(trunk, tasks, **NORMS[method])
    return tssbn.MultiTask(trunk, heads)


def fit(net: tssbn.MultiTask, seed: int, multiplier: float = 1, steps: int = STEPS, lr: float = LR):
    """Train with Adam and a cosine; the plain sum of the cross-entropies. In eval mode after it."""
    groups = net.parameters()
    if find_tasks(net):
        groups = tssbn.param_groups(net, lr, multiplier)
    optimiser = torch.optim.Adam(groups, lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    words, answers = data().train
    order = Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(words), (BATCH,), generator=order)
        outputs = net(words[rows])
        loss = sum(F.cross_entropy(y, answers[task][rows]) for task, y in outputs.items())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def scores(net: tssbn.MultiTask) -> dict[str, dict[str, float]]:
    """By task, on the test names: accuracy, and F1 averaged over the answers that are not rare."""
    words, answers = data().test
    found = {}
    for task, logits in net(words).items():
        given, true = logits.argmax(1), answers[task]
        counts = data().train.answers[task].bincount()
        common = (counts >= RARE).nonzero().flatten()
        found[task] = {
            "f1": float(f1_score(true, given, labels=common, average="macro", zero_division=0)),
            "accuracy": (given == true).double().mean().item(),
        }
    return found


@torch.no_grad()
def with_gates(net: tssbn.MultiTask, change: str, seed: int) -> tssbn.MultiTask:
    """A copy whose gates are ``"shuffled"`` among the channels of a layer, or ``"swapped"``, each
    task having the next one's."""
    random = Generator().manual_seed(seed)
    net = copy.deepcopy(net)
    for layer in net.modules():
        if isinstance(layer, TaskSigmoidNorm):
            if change == "swapped":
                layer.gamma.copy_(layer.gamma.roll(-1, 0))
            else:
                rows = [row[torch.randperm(len(row), generator=random)] for row in layer.gamma]
                layer.gamma.copy_(torch.stack(rows))
    return net


def run(method: str, multiplier: float, seed: int, steps: int = STEPS) -> dict[str, Any]:
    """Train once; what is written down of it."""
    start = time.process_time()
    made: dict[str, Any] = {"method": method, "multiplier": multiplier, "seed": seed}
    if method == "stl":
        nets = [fit(build(method, seed, (task,)), seed, steps=steps) for task in TASKS]
        made["test"] = {task: score for net in nets for task, score in scores(net).items()}
        made["parameters"] = sum(map(parameters, nets))
    else:
        net = fit(build(method, seed), seed, multiplier, steps)
        made |= {"test": scores(net), "parameters": parameters(net)}
        if method.startswith("tssln"):
            for change in "shuffled", "swapped":
                made[change] = scores(with_gates(net, change, seed))
            made["gates"] = pack_gates({steps: tssbn.gates.importance(net)})
    made["cpu_seconds"] = time.process_time() - start
    return made


def study(seeds: int = 3, steps: int = STEPS, folder: Path | None = None) -> Path:
    """All runs, and an untrained network for each seed, in one record."""
    start, runs = time.perf_counter(), []
    train, test, known, classes = data()
    for seed in range(seeds):
        untrained = scores(build("hps", seed).eval())
        runs.append({"method": "untrained", "multiplier": 1, "seed": seed, "test": untrained})
        for method, multiplier in RUNS:
            runs.append(run(method, multiplier, seed, steps))
            print(method, multiplier, seed, runs[-1]["test"], flush=True)
    return write(
        "beyond_vision/names",
        {
            "data": {
                "source": "unicodedata.ucd_3_2_0",
                "train": len(train.words),
                "test": len(test.words),
                "words": known,
                "classes": {task: len(names) for task, names in classes.items()},
                "longest": WORDS,
                "rare": RARE,
            },
            "recipe": {"steps": steps, "batch": BATCH, "lr": LR, "width": WIDTH, "layers": LAYERS},
            "environment": environment(),
            "seconds": time.perf_counter() - start,
            "runs": runs,
        },
        folder,
    )


def main(arguments: Iterable[str] | None = None) -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds; default: 3")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(study(options.seeds))


if __name__ == "__main__":
    main()
