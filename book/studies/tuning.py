"""Which learning rates suit a method? Six trials or more for each, scored on validation images.

    python book/studies/tuning.py BENCHMARK METHOD [METHOD ...] [--set KEY=VALUE ...]

A method whose gates, or scales and biases, learn at a rate of their own is tried at four gate
rates, with the base rate of the recipe. The best of them is then tried at half and at twice that
base rate. Any other method is tried at six base rates. So each method has six trials, and more
where the best base rate is the largest or the smallest: then one twice or half as large is tried,
too. With --multipliers, each method is tried at these factors instead, with the base rate of the
recipe; a factor applies to what the method trains in the trunk. Test images are not used, and the
seed is none of the reported ones.

The best trial has the highest Δm on the validation images, relative to the first trial. The file
data/results/tuning/BENCHMARK-METHOD.json holds the trials and the settings of the best. A trial
that is in the file is not run again.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from tssbn.arguments import setting
from tssbn.benchmarks import find_benchmark
from tssbn.records import SavedRun, delta, environment, load, write
from tssbn.training.loop import train
from tssbn.training.run import Run
from tssbn.training.settings import options_of

GATE_RATES = (0.01, 0.03, 0.1, 0.001)  # of one step of Adam
BASE_RATES = (1, 0.5, 2, 0.25, 4, 8)  # times the recipe's

Trial = Mapping[str, Any]


def next_rates(
    gated: bool, lr: float, trials: list[Trial], multipliers: Sequence[float] = ()
) -> dict[str, float] | None:
    """The rates that come after those of some trials; None after the last.

    Args:
        gated: whether the method has a gate rate.
        lr: the base rate of the recipe.
        trials: so far, in their order.
        multipliers: to try at the base rate, instead of all that.

    Example:
        >>> next_rates(True, 0.001, []), next_rates(False, 0.001, [{}] * 6)
        ({'lr': 0.001, 'multiplier': 10.0}, None)
    """
    done = len(trials)
    if multipliers:
        return {"lr": lr, "multiplier": multipliers[done]} if done < len(multipliers) else None
    if not gated:
        base = BASE_RATES[done] * lr if done < len(BASE_RATES) else beyond(trials)
        return {"lr": base} if base else None
    if done < len(GATE_RATES):
        return {"lr": lr, "multiplier": round(GATE_RATES[done] / lr, 6)}
    around, later = BASE_RATES[1:3], done - len(GATE_RATES)
    base = around[later] * lr if later < len(around) else beyond(trials)
    gate_rate = best(trials[: len(GATE_RATES)])["rates"]["multiplier"] * lr
    return {"lr": base, "multiplier": round(gate_rate / base, 6)} if base else None


def beyond(trials: list[Trial]) -> float | None:
    """Twice the best base rate if it is the largest of those tried, half of it if the smallest.

    Example:
        >>> scores = {"losses": {}, "directions": {"a": True}}
        >>> trials = [{"rates": {"lr": x}, "val": {"a": y}, **scores} for x, y in ((1, 5), (2, 6))]
        >>> beyond(trials), beyond([*trials, {"rates": {"lr": 4}, "val": {"a": 3}, **scores}])
        (4, None)
    """
    tried, rate = [trial["rates"]["lr"] for trial in trials], best(trials)["rates"]["lr"]
    return 2 * rate if rate == max(tried) else rate / 2 if rate == min(tried) else None


def best(trials: list[Trial]) -> Trial:
    """The trial with the highest Δm on the validation images over the first that has no score of 0.

    Δm is not defined over a score of 0, nor for the NaN of a trial that diverged.

    Raises:
        ValueError: no trial has scores above 0 in all tasks.
    """
    scored = [trial for trial in trials if all(map(isfinite, trial["val"].values()))]
    first = next((t for t in scored if all(x > 0 for x in t["val"].values())), None)
    if first is None:
        tried = [dict(trial["rates"]) for trial in trials]
        raise ValueError(f"no trial has scores above 0 in all tasks, at the rates {tried}")
    return max(scored, key=lambda trial: delta(trial["val"], first["val"], trial["directions"]))


def tried(run: Run, rates: Mapping[str, float], runs: Path, **how: Any) -> Trial:
    """Train one trial."""
    began = time.perf_counter()
    record = train(run, runs / run.name, resume=True, **how).record
    saved = SavedRun(run.name, record)
    return {
        "rates": rates,
        "val": saved.scores("val"),
        "losses": record["epochs"][-1]["losses"],
        "directions": record["directions"],
        "seconds": round(time.perf_counter() - began, 1),
    }


def search(
    benchmark: str,
    method: str,
    seed: int,
    settings: Mapping[str, Any],
    multipliers: Sequence[float] = (),
    suffix: str = "",
    **how: Any,
) -> Iterator[dict]:
    """Run the trials of a method; gives the record after each."""
    name = "-".join([f"tuning/{benchmark}", method, *([suffix] if suffix else [])])
    common = {"report": "val", **settings}
    plain = Run(benchmark, method, seed, common)
    lr = find_benchmark(benchmark)().recipe.lr
    gated = "multiplier" in options_of(*plain.method.functions)
    try:
        trials = list(load(name)["trials"])
    except FileNotFoundError:
        trials = []
    while rates := next_rates(gated, lr, trials, multipliers):
        run = Run(benchmark, method, seed, {**common, **rates})
        trials.append(tried(run, rates, **how))
        record = {
            "benchmark": benchmark,
            "method": method,
            "seed": seed,
            "settings": settings,
            "precision": how["precision"],
            "trials": trials,
            "best": best(trials)["rates"],
            **environment(),
        }
        write(name, record)
        yield record


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("benchmark", metavar="BENCHMARK", help="a name that `benchmarks` lists")
    parser.add_argument("methods", metavar="METHOD", nargs="+", help="names that `methods` lists")
    parser.add_argument("--seed", type=int, default=100, help="default: 100")
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="KEY=VALUE",
        nargs="+",
        default=[],
        help="settings of every trial",
    )
    parser.add_argument(
        "--multipliers",
        metavar="TIMES",
        type=float,
        nargs="+",
        default=[],
        help="factors to try in place of rates",
    )
    parser.add_argument("--suffix", default="", help="the file is named BENCHMARK-METHOD-SUFFIX")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="folder of the data")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder of the checkpoints; default: runs"
    )
    parser.add_argument("--precision", default="32", help="default: 32")
    parser.add_argument("--channels-last", action="store_true")
    given = parser.parse_args()
    settings = dict(map(setting, given.settings))
    how = {
        "multipliers": given.multipliers,
        "suffix": given.suffix,
        "root": given.data,
        "runs": given.runs,
        "precision": given.precision,
        "channels_last": given.channels_last,
    }
    for method in given.methods:
        for record in search(given.benchmark, method, given.seed, settings, **how):
            trial = record["trials"][-1]
            print(method, trial["rates"], trial["val"], f"{trial['seconds']:.0f} s", flush=True)
        print(f"{method}: best {record['best']}", flush=True)


if __name__ == "__main__":
    main()
