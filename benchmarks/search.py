"""Does it search well? Every sampler with every stopping rule, on recorded trainings.

    python benchmarks/search.py [SEEDS]     100 by default, half as many of `gp`, which takes most
                                            of the three quarters of an hour of two cores

The product's searcher and rules run in simulated time on the curves of `record_curves.py`. The cost
is in trainings: 1 is the mean cost of a complete one. The regret is how much worse the best point
of a search truly is than the best point of the grid.
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
from search_task import BUDGET, WORKERS, BestPoints
from ways_to_search import METRIC, not_run, searches

RESULTS = Path(__file__).parent / "results" / "search.md"
QUARTER = BUDGET / 4
MARKS = (4.0, 8.0, 16.0, 32.0)
FIRST_SEED = 10_000  # rules and defaults were chosen with the seeds before it


def regret_at(points: BestPoints, task: Task, cost: float) -> float:
    """Return the regret of the best point at a cost; infinite before the first point."""
    until = [point for spent, point in points if spent <= cost]
    return task.truth(until[-1]) - task.best if until else math.inf


def median_reaches(searched: Sequence[BestPoints], task: Task, regret: float) -> float:
    """Return the cost at which the median regret over all seeds reaches `regret` first."""
    costs = np.arange(0.5, BUDGET + WORKERS, 0.5)
    medians = (np.median([regret_at(points, task, cost) for points in searched]) for cost in costs)
    return next((float(c) for c, m in zip(costs, medians, strict=True) if m <= regret), 1e9)


def cost_to_reach(points: BestPoints, task: Task, regret: float) -> float:
    """Return the cost at which a search reaches `regret` first."""
    return next((spent for spent, point in points if task.truth(point) - task.best <= regret), 1e9)


def seeds_of(name: str, seeds: int) -> range:
    """Return the seeds of a way to search."""
    return range(FIRST_SEED, FIRST_SEED + (seeds // 2 if name.startswith("gp,") else seeds))


def _run(job: tuple[str, int]) -> tuple[str, int, BestPoints, float]:
    start = time.process_time()
    points = searches()[job[0]](Task(), job[1])
    return (*job, points, time.process_time() - start)


def main() -> None:
    """Simulate all searches and write the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    absent = not_run(searches())
    names = [name for name in searches() if name not in absent]
    jobs = [(name, seed) for name in names for seed in seeds_of(name, seeds)]
    results: dict[str, dict[int, BestPoints]] = {name: {} for name in names}
    seconds: dict[str, float] = dict.fromkeys(names, 0.0)
    os.environ["OMP_NUM_THREADS"] = "1"  # of each of the two processes below
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        for name, seed, points, took in pool.imap_unordered(_run, jobs, chunksize=4):
            results[name][seed] = points
            seconds[name] += took / len(seeds_of(name, seeds))
    lines = report(Task(), results, seconds, seeds)
    lines += [f"\nNot run: {name}; {reason}." for name, reason in absent.items()]
    RESULTS.write_text("\n".join(lines) + "\n")
    print(RESULTS.read_text())


def report(
    task: Task,
    results: dict[str, dict[int, BestPoints]],
    seconds: dict[str, float],
    seeds: int,
) -> list[str]:
    """Return the results as Markdown."""
    random = results["random, none"]
    goal = float(np.median([regret_at(points, task, BUDGET) for points in random.values()]))
    rows = []
    for name, by_seed in results.items():
        searched = list(by_seed.values())
        costs = [cost_to_reach(points, task, goal) for points in searched]
        rows.append((np.median(costs), _row(task, name, searched, costs, goal, seconds[name])))
    return [*_header(task, goal, seeds), *(row for _, row in sorted(rows))]


def _row(
    task: Task,
    name: str,
    searched: Sequence[BestPoints],
    costs: Sequence[float],
    goal: float,
    seconds: float,
) -> str:
    regrets = [np.median([regret_at(points, task, mark) for points in searched]) for mark in MARKS]
    quartiles = ", ".join(_cost_text(q) for q in np.quantile(costs, (0.25, 0.75)))
    share = np.mean([cost <= QUARTER for cost in costs])
    cells = [f"{regret:.1f}" for regret in regrets]
    cells += [f"{_cost_text(float(np.median(costs)))} ({quartiles})", f"{share:.0%}"]
    cells.append(_cost_text(median_reaches(searched, task, goal)))
    return f"| {name} | {' | '.join(cells)} | {seconds:.1f} |"


def _header(task: Task, goal: float, seeds: int) -> list[str]:
    low, middle, high = np.quantile(task.values, (0.05, 0.5, 0.95))
    return [
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


def _cost_text(cost: float) -> str:
    return f"{cost:.1f}" if cost <= BUDGET + WORKERS else f"over {BUDGET:g}"


if __name__ == "__main__":
    main()
