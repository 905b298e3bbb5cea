"""Does a search help on pictures nobody has seen? Ways to search on the tasks of the library.

    PYTHONPATH=benchmarks python benchmarks/library/compare.py --role choose [--seeds 20]

Each seed of each set is a task that `truth.py` draws. The cost is in trainings. The regret is how
much worse, in percent, the chosen point truly is than the best point of the task. Writes
results/library_search.md. The sets of the role `once` are looked at once, at the end.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from design import SCALES, roles, search
from machine import provenance
from record import FOLDER, recorded
from truth import Truth, recordings
from ways_to_search import BUDGET, BestPoints, Task, searches

RESULTS = Path(__file__).resolve().parents[1] / "results" / "library_search.md"
MARKS = (4.0, 8.0, 16.0, 32.0)
BASE = "random, none"
WAYS = (
    *(BASE, "qmc, none", "tpe, asha 3", "curves, none", "curves, chance"),
    *("plain Optuna TPE, none", "plain Optuna GP, none", "Ray's OptunaSearch + ASHA 3"),
)
MIN_POINTS = 12  # a set with fewer recorded points is left out


def truth_of(name: str, scale: str) -> Truth | None:
    """Return the model of a set at a scale; None if too little is recorded."""
    lines = [line for line in recorded(FOLDER, [name]) if line["scale"] == scale]
    known = recordings(search(scale).space, lines)
    if len(known.points) < MIN_POINTS or not len(known.lucks):
        return None
    return Truth(known)


def regrets(points: BestPoints, task: Task) -> list[float]:
    """Return the regret in percent after each cost from 0.5 to the budget, in steps of 0.5."""
    costs = np.arange(0.5, BUDGET + 0.25, 0.5)
    values = [task.truth(point) for _, point in points]
    spent = [cost for cost, _ in points]
    chosen = np.searchsorted(spent, costs, side="right") - 1
    return [100 * (values[i] / task.best - 1) if i >= 0 else math.inf for i in chosen]


def _run(
    truths: Mapping[str, Truth], job: tuple[str, str, int]
) -> tuple[str, str, int, list[float], float]:
    name, way, seed = job
    started = time.process_time()
    task = truths[name].draw(seed)
    points = searches()[way](task, seed)
    return name, way, seed, regrets(points, task), time.process_time() - started


def reach(curve: Sequence[float], goal: float) -> float:
    """Return the first cost at which a curve of regrets is at most `goal`."""
    return next((0.5 * (i + 1) for i, regret in enumerate(curve) if regret <= goal), math.inf)


def main() -> None:
    """Simulate the searches and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=["choose", "report", "once"], default="choose")
    parser.add_argument("--scale", choices=SCALES, default="32px")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--ways", nargs="*", default=WAYS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    truths: dict[str, Truth] = {}
    for name in roles()[options.role]:
        if (truth := truth_of(name, options.scale)) is not None:
            truths[name] = truth
        else:
            print(f"{name} is left out: less than {MIN_POINTS} points, or no second seed")
    if not truths:
        parser.error(f"--role {options.role}: no set has enough recordings at {options.scale}")
    jobs = [
        (name, way, seed)
        for name in truths
        for way in options.ways
        for seed in range(options.seeds)
    ]
    curves: dict[tuple[str, str], list[list[float]]] = {}
    seconds = dict.fromkeys(options.ways, 0.0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for name, way, _, curve, took in pool.imap_unordered(
            partial(_run, truths), jobs, chunksize=2
        ):
            curves.setdefault((name, way), []).append(curve)
            seconds[way] += took / options.seeds / len(truths)
    text = report(options, truths, curves, seconds)
    RESULTS.write_text(text)
    print(text, end="")


def report(
    options: argparse.Namespace,
    truths: Mapping[str, Truth],
    curves: dict[tuple[str, str], list[list[float]]],
    seconds: dict[str, float],
) -> str:
    """Return the tables as Markdown."""
    lines = [
        "# Does a search help on pictures nobody has seen?\n",
        f"`PYTHONPATH=benchmarks python benchmarks/library/compare.py --role {options.role} "
        f"--scale {options.scale} "
        f"--seeds {options.seeds}`; {provenance(('optuna', 'ray'))}\n",
        "| set | points | R^2 | a seed moves a value by |",
        "|---" * 4 + "|",
    ]
    for name, truth in truths.items():
        luck = 100 * float(np.std(truth.recorded.lucks[:, -1]))
        lines.append(
            f"| {name} | {len(truth.recorded.points)} | {truth.cross_validated():.2f} "
            f"| {luck:.1f} % |"
        )
    lines += [
        "\nMedian regret in percent after a cost in trainings, and the cost at which the median "
        f"regret is down to that of random search after {BUDGET:g} trainings, as a share of "
        f"{BUDGET:g}.\n",
        "| set | way | " + " | ".join(f"at {mark:g}" for mark in MARKS) + " | cost |",
        "|---" * (len(MARKS) + 3) + "|",
    ]
    shares: dict[str, list[float]] = {way: [] for way in options.ways}
    for name in truths:
        goal = float(np.median([curve[-1] for curve in curves[name, BASE]]))
        for way in options.ways:
            median = np.median(curves[name, way], axis=0)
            share = reach(median, goal) / BUDGET
            shares[way].append(share)
            at = " | ".join(f"{median[round(2 * mark) - 1]:.1f}" for mark in MARKS)
            lines.append(f"| {name} | {way} | {at} | {share:.0%} |")
    lines += [
        "\n| way | cost, geometric mean over sets | worst set | CPU s of a search |",
        "|---" * 4 + "|",
    ]
    for way in options.ways:
        mean = math.exp(float(np.mean(np.log(shares[way]))))
        lines.append(f"| {way} | {mean:.0%} | {max(shares[way]):.0%} | {seconds[way]:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
