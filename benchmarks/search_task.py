"""What the ways to search have in common: their tasks, their budget, and how their points count."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from replay import SimulatedTrial, Step, cost

from fastgan_ray.search.file.spec import SearchSpec

BUDGET = 32.0  # trainings, as of random search without early stopping
WORKERS = 2
Point: TypeAlias = dict[str, Any]


class Task(Protocol):
    """What a search is tried on, such as `recorded_task.Task`."""

    kimg: list[float]

    @property
    def best(self) -> float:
        """The true value of the best point."""

    def spec(self, method: str, rule: str, seed: int, total_kimg: float) -> SearchSpec:
        """Return a search of this task. `method` and `rule` are lines of a search file."""

    def curve(self, point: Point, seed: int) -> list[Step]:
        """Return the reports of a training."""

    def truth(self, point: Point) -> float:
        """Return the last value of a training without luck; infinite if it diverges."""


BestPoints: TypeAlias = list[tuple[float, Point]]  # cost so far, and the best point then
Search: TypeAlias = Callable[[Task, int], BestPoints]


def run_trials(
    ask: Callable[[int], tuple[Point, Sequence[Step]]],
    tell: Callable[[SimulatedTrial, float], None],
    workers: int,
) -> list[SimulatedTrial]:
    """Simulate workers that train what a sampler asks for, each training to the end of its curve.

    `ask` takes the number of a trial, and returns its point and its curve. `tell` gets a trial at
    the end of its curve, and the cost so far. No trial starts once `BUDGET` is spent.
    """
    trials: list[SimulatedTrial] = []
    queue: list[tuple[float, int, int]] = []  # (time, trial, step)
    now = 0.0
    while True:
        while len(queue) < workers and cost(trials) < BUDGET:
            point, curve = ask(len(trials))
            trials.append(SimulatedTrial(len(trials), point, now, curve))
            heapq.heappush(queue, (now + curve[0].seconds, len(trials) - 1, 0))
        if not queue:
            return trials
        now, number, index = heapq.heappop(queue)
        trial = trials[number]
        trial.steps.append((now, trial.curve[index]))
        if index + 1 < len(trial.curve):
            heapq.heappush(queue, (now + trial.curve[index + 1].seconds, number, index + 1))
            continue
        trial.state = "diverged" if trial.curve[index].value is None else "finished"
        tell(trial, cost(trials))


def best_points(trials: Sequence[SimulatedTrial]) -> BestPoints:
    """Return the cost so far and the best point, as of summary.json, after each trial's end."""
    spent = sorted((now, step.seconds) for trial in trials for now, step in trial.steps)
    costs = np.cumsum([seconds for _, seconds in spent])
    times = np.array([now for now, _ in spent])
    points: BestPoints = []
    ended: list[tuple[bool, float, int, Point]] = []
    for trial in sorted(trials, key=lambda trial: trial.steps[-1][0]):
        now, last = trial.steps[-1]
        if last.value is not None:
            ended.append((trial.state != "finished", last.value, trial.number, trial.point))
        if ended:
            cost = float(costs[np.searchsorted(times, now, side="right") - 1])
            points.append((cost, min(ended, key=lambda entry: entry[:3])[3]))
    return points
