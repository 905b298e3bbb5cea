"""Does it search well? Every sampler with every stopping rule, on recorded trainings.

    python benchmarks/search.py [SEEDS]     100 by default, half as many of `gp`, which takes most
                                            of the three quarters of an hour of two cores

The product's own searcher and rules are replayed in simulated time on the curves of
`record_curves.py`. Cost is in trainings: 1 is what one takes from beginning to end, on average.
Regret is how much worse the point that a search would hand over truly is than the grid's best.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from machine import provenance
from recorded_task import Task
from ways_to_search import BUDGET, METRIC, WORKERS, Found, searches

RESULTS = Path(__file__).parent / "results" / "search.md"
QUARTER = BUDGET / 4
MARKS = (4.0, 8.0, 16.0, 32.0)
FIRST_SEED = 10_000  # those before it were there to choose rules and defaults by


def regret_at(found: Found, task: Task, cost: float) -> float:
    """How much worse than the grid's best is what was handed over at a cost; infinite: nothing."""
    known = [point for spent, point in found if spent <= cost]
    return task.truth(known[-1]) - task.best if known else math.inf


def median_reaches(found: Sequence[Found], task: Task, regret: float) -> float:
    """The cost at which the median of the regrets over all seeds is as good, for the first time."""
    costs = np.arange(0.5, BUDGET + WORKERS, 0.5)
    medians = (np.median([regret_at(one, task, cost) for one in found]) for cost in costs)
    return next((float(c) for c, m in zip(costs, medians, strict=True) if m <= regret), 1e9)


def cost_to_reach(found: Found, task: Task, regret: float) -> float:
    """The cost at which a search hands over something as good, for the first time."""
    return next((spent for spent, point in found if task.truth(point) - task.best <= regret), 1e9)


def seeds_of(name: str, seeds: int) -> range:
    """The seeds that a way to search is replayed with."""
    return range(FIRST_SEED, FIRST_SEED + (seeds // 2 if name.startswith("gp,") else seeds))


def _one(job: tuple[str, int]) -> tuple[str, int, Found, float]:
    began = time.process_time()
    found = searches()[job[0]](Task(), job[1])
    return (*job, found, time.process_time() - began)


def main() -> None:
    """Replay everything and write the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    names = list(searches())
    jobs = [(name, seed) for name in names for seed in seeds_of(name, seeds)]
    results: dict[str, dict[int, Found]] = {name: {} for name in names}
    seconds: dict[str, float] = dict.fromkeys(names, 0.0)
    os.environ["OMP_NUM_THREADS"] = "1"  # of each of the two processes below
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        for name, seed, found, took in pool.imap_unordered(_one, jobs, chunksize=4):
            results[name][seed] = found
            seconds[name] += took / len(seeds_of(name, seeds))
    RESULTS.write_text("\n".join(report(Task(), results, seconds, seeds)) + "\n")
    print(RESULTS.read_text())


def report(
    task: Task,
    results: dict[str, dict[int, Found]],
    seconds: dict[str, float],
    seeds: int,
) -> list[str]:
    """The results as Markdown."""
    random = results["random, none"]
    goal = float(np.median([regret_at(found, task, BUDGET) for found in random.values()]))
    low, middle, high = np.quantile(task.values, (0.05, 0.5, 0.95))
    lines = [
        "# Does it search well?",
        "",
        f"`python benchmarks/search.py {seeds}`; {provenance(('optuna', 'ray', 'cmaes'))}",
        "",
        f"{len(task.values)} configurations of the embedded matcaps at 32 px, each trained with "
        f"two seeds: {METRIC} at {task.kimg[-1]:g} kimg {task.best:.1f} at best (the mean of the "
        f"two); 5 % are below {low:.1f}, half below {middle:.1f}, 95 % below {high:.1f}. A seed "
        f"moves it by {100 * task.noise[-1]:.1f} % (standard deviation; at the first row by "
        f"{100 * task.noise[0]:.1f} %).",
        "",
        f"Regret (median over {seeds} seeds from {FIRST_SEED}, of gp half as many) after a cost in "
        f"trainings; the cost at which the regret of random search without stopping after "
        f"{BUDGET:g} trainings ({goal:.1f}) is reached for the first time, median and quartiles; "
        "how many seeds reach it within a quarter of that; the cost at which the median regret is "
        "down to it; CPU seconds of a replay, without anything that trains.",
        "",
        "| sampler, stopping | " + " | ".join(f"at {mark:g}" for mark in MARKS) + " | cost to "
        f"reach {goal:.1f} | within {QUARTER:g} | the median | s |",
        "|---" * (len(MARKS) + 5) + "|",
    ]
    rows = []
    for name, found in results.items():
        regrets = [
            np.median([regret_at(one, task, mark) for one in found.values()]) for mark in MARKS
        ]
        costs = [cost_to_reach(one, task, goal) for one in found.values()]
        quartiles = ", ".join(_cost_text(q) for q in np.quantile(costs, (0.25, 0.75)))
        share = np.mean([cost <= QUARTER for cost in costs])
        cells = [f"{regret:.1f}" for regret in regrets]
        cells += [f"{_cost_text(float(np.median(costs)))} ({quartiles})", f"{share:.0%}"]
        cells.append(_cost_text(median_reaches(list(found.values()), task, goal)))
        rows.append((np.median(costs), f"| {name} | {' | '.join(cells)} | {seconds[name]:.1f} |"))
    return [*lines, *(row for _, row in sorted(rows))]


def _cost_text(cost: float) -> str:
    return f"{cost:.1f}" if cost <= BUDGET + WORKERS else f"over {BUDGET:g}"


if __name__ == "__main__":
    main()
