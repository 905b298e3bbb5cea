"""Is the chance of being the best calibrated, and does the best expected value beat the best value?

    PYTHONPATH=benchmarks python benchmarks/library/calibration.py [--seeds 100] [--jobs 2]

Random searches on tasks whose true values are known. The process of `search/curves` states for each
configuration an expected value with an interval, and the probability that it is the best of those
tried. Both are compared with the truth. Writes results/calibration.md.

The tasks: the recorded matcaps, as they are and as functions drawn by `truth.py` that agree with
them; and functions drawn for each set of the library with enough recordings.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import multiprocessing
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import recorded_task
import torch
from compare import truth_of
from design import SCALES, roles
from machine import provenance
from numpy.typing import NDArray
from record import FOLDER
from record_curves import METRIC
from record_curves import recorded as recorded_curves
from replay import SimulatedTrial, replay
from search_task import trial_of
from truth import Truth, recordings
from ways_to_search import RULES, Task

from fastgan_ray.search.curves.ranking import CONFIDENCE, Expectation, rank

RESULTS = Path(__file__).resolve().parents[1] / "results" / "calibration.md"
SIZES = (8, 16, 32)
SEARCHES = (*((size, "none") for size in SIZES), (32, "asha 3"), (32, "chance"))
BINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
GRID, DRAWN = "matcaps, recorded grid", "matcaps, drawn functions"


class Result(NamedTuple):
    """A search: for each ranked trial its statement, its true and last value, and its state."""

    expected: list[Expectation]
    truth: NDArray[np.float64]
    last: NDArray[np.float64]
    finished: NDArray[np.bool_]


class DrawnTask:
    """A drawn function of the matcaps, with the search space of the recorded grid."""

    def __init__(self, truth: Truth, grid: recorded_task.Task, seed: int) -> None:
        drawn = truth.draw(seed)
        self.kimg, self.spec = grid.kimg, grid.spec
        self.curve, self.truth = drawn.curve, drawn.truth


def matcaps(grid: recorded_task.Task) -> Truth:
    """Return the model of the recorded matcaps."""
    space = grid.spec("method: random", "", 0, grid.kimg[-1]).space
    numbers: dict[str, int] = {}
    lines = []
    for training in recorded_curves():
        point = {parameter.name: training["point"][parameter.name] for parameter in space}
        rows = training["rows"] if training["outcome"] == "finished" else []
        columns = {"kimg": [round(row["kimg"], 1) for row in rows]}
        columns[METRIC] = [row[METRIC] for row in rows]
        lines.append(
            {
                "number": numbers.setdefault(json.dumps(point), len(numbers)),
                "outcome": training["outcome"],
                "point": point,
                "cpu_seconds": rows[-1]["seconds"] if rows else 0.0,
                "rows": columns,
            }
        )
    return Truth(recordings(space, lines))


def tasks(folder: Path, scale: str) -> dict[str, Callable[[int], Any]]:
    """Return {name: a function that makes the task of a seed}."""
    grid = recorded_task.Task()
    of_matcaps = matcaps(grid)
    table: dict[str, Callable[[int], Any]] = {
        GRID: lambda seed: grid,
        DRAWN: lambda seed: DrawnTask(of_matcaps, grid, seed),
    }
    for name in (name for role in ("choose", "report") for name in roles()[role]):
        if (truth := truth_of(folder, name, scale)) is not None:
            table[name] = truth.draw
        else:
            print(f"{name} is left out: too few recordings")
    return table


def search(task: Task, size: int, rule: str, seed: int) -> list[SimulatedTrial]:
    """Return the trials of a random search of `size` trials with an early stopping rule."""
    first = task.kimg[0]
    text = RULES[rule].replace("2*FIRST", f"{2 * first:g}").replace("FIRST", f"{first:g}")
    line = f"early_terminate: {text}" if text else ""
    spec = task.spec("method: random\nsampler: random", line, seed, task.kimg[-1])
    spec = dataclasses.replace(spec, run_cap=size)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return replay(spec, lambda point, config: task.curve(point, seed), Path(folder))


def result(task: Task, simulated: Sequence[SimulatedTrial], seed: int) -> Result | None:
    """Rank a search's trials; None if they are too few for a ranking."""
    space = task.spec("method: random", "", seed, task.kimg[-1]).space
    trials = [trial_of(trial) for trial in simulated]
    ranking = rank(space, trials, task.kimg[-1])
    if ranking is None:
        return None
    pairs = [
        (simulated[index], expectation)
        for index, expectation in enumerate(ranking.expectations())
        if expectation is not None
    ]
    return Result(
        [expectation for _, expectation in pairs],
        np.array([task.truth(trial.point) for trial, _ in pairs]),
        np.array([trial.steps[-1][1].value for trial, _ in pairs], dtype=float),
        np.array([trial.state == "finished" for trial, _ in pairs]),
    )


_TASKS: dict[str, Callable[[int], Any]] = {}


def run(job: tuple[str, int, str, int]) -> tuple[tuple[str, int, str], Result | None]:
    """Run one search of `_TASKS`."""
    name, size, rule, seed = job
    task = _TASKS[name](seed)
    return (name, size, rule), result(task, search(task, size, rule, seed), seed)


def choices(known: Result) -> dict[str, int]:
    """Return the index of the first trial of each order: by value, and by expected value."""
    values = np.array([expectation.value for expectation in known.expected])
    stopped = np.where(known.finished, 0.0, math.inf)
    if not known.finished.any():
        stopped = np.zeros(len(values))
    return {
        "value": int(np.argmin(known.last + stopped)),
        "expected, finished": int(np.argmin(values + stopped)),
        "expected, all": int(np.argmin(values)),
    }


def quality(results: Sequence[Result]) -> str:
    """Return the cells of a row: coverage; how often the best is first, and the mean regret."""
    covered = np.mean([e.low <= t <= e.high for r in results for e, t in _pairs(r)])
    cells = [f"{covered:.0%}"]
    chosen = [choices(known) for known in results]
    stated = np.mean(
        [
            known.expected[choice["expected, finished"]].chance
            for known, choice in zip(results, chosen, strict=True)
        ]
    )
    for order in chosen[0]:
        first = [
            known.truth[choice[order]] == known.truth.min()
            for known, choice in zip(results, chosen, strict=True)
        ]
        regret = [
            100 * (known.truth[choice[order]] / known.truth.min() - 1)
            for known, choice in zip(results, chosen, strict=True)
        ]
        error = np.std(regret) / math.sqrt(len(regret))
        cells.append(f"{np.mean(first):.0%}, {np.mean(regret):.2f} ± {error:.2f}")
    return " | ".join([*cells, f"{stated:.0%}"])


def reliability(results: Iterable[Result]) -> list[str]:
    """Return the rows of the reliability table: stated probability, true frequency, number."""
    stated, true = [], []
    for known in results:
        for expectation, truth in _pairs(known):
            stated.append(expectation.chance)
            true.append(truth == known.truth.min())
    chances, best = np.array(stated), np.array(true, dtype=float)
    lines = []
    for low, high in itertools.pairwise(BINS):
        inside = (chances >= low) & ((chances < high) | (high == 1.0))
        count = int(inside.sum())
        if count:
            share = best[inside].mean()
            error = math.sqrt(max(share * (1 - share), 1 / count) / count)
            lines.append(
                f"| {low:.0%} to {high:.0%} | {chances[inside].mean():.1%} "
                f"| {share:.1%} ± {error:.1%} | {count} |"
            )
    return lines


def _pairs(known: Result) -> Iterable[tuple[Expectation, float]]:
    return zip(known.expected, known.truth.tolist(), strict=True)


def report(
    results: Mapping[tuple[str, int, str], Sequence[Result]], options: argparse.Namespace
) -> str:
    """Return the tables as Markdown."""
    lines = [
        "# Are the chances of being the best calibrated?\n",
        f"`PYTHONPATH=benchmarks python benchmarks/library/calibration.py --scale {options.scale} "
        f"--seeds {options.seeds}`; {provenance(())}\n",
        f"Coverage: share of the {CONFIDENCE:.0%} intervals that contain the true value. Then, for "
        "three orders of the trials: how often the first one is truly the best of those tried, and "
        "how much worse it truly is, in percent (mean ± standard error). By value and "
        "`expected, finished`: finished trials before stopped ones. Last: the mean stated "
        "probability of the first one of `expected, finished`.\n",
        "| task | trials | stopping | coverage | by value | expected, finished | expected, all "
        "| stated |",
        "|---" * 8 + "|",
    ]
    for (name, size, rule), known in results.items():
        lines.append(f"| {name} | {size} | {rule} | {quality(known)} |")
    groups = {"All searches": [known for some in results.values() for known in some]}
    for size, rule in SEARCHES:
        groups[f"{size} trials, {'no stopping' if rule == 'none' else rule}"] = [
            known for (_, n, r), some in results.items() if (n, r) == (size, rule) for known in some
        ]
    for title, known in groups.items():
        lines += [
            f"\n{title}: stated probability of being the best, and how often it was true.\n",
            "| stated | mean stated | true | configurations |",
            "|---" * 4 + "|",
            *reliability(known),
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate the searches and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--scale", choices=SCALES, default="32px")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    _TASKS.update(tasks(options.folder, options.scale))
    jobs = [
        (name, size, rule, seed)
        for name in _TASKS
        for size, rule in SEARCHES
        for seed in range(options.seeds)
    ]
    results: dict[tuple[str, int, str], list[Result]] = {}
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for key, known in pool.imap(run, jobs, chunksize=4):
            if known is not None:
                results.setdefault(key, []).append(known)
    text = report(results, options)
    RESULTS.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
