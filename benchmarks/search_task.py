"""What the ways to search have in common: their tasks, their budget, and how their points count."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from replay import SimulatedTrial, Step, cost

from fastgan_ray.search.curves.features import encode
from fastgan_ray.search.curves.kernel import Hyperparameters
from fastgan_ray.search.curves.posterior import Posterior, fit, prior
from fastgan_ray.search.curves.ranking import MAX_ROWS, MIN_TRIALS
from fastgan_ray.search.curves.trials import Trial, rows_of
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.space import SearchSpace

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


Choose: TypeAlias = Callable[[Sequence[SimulatedTrial]], Point]


def best_points(trials: Sequence[SimulatedTrial], choose: Choose | None = None) -> BestPoints:
    """Return the cost so far and the best point, after the end of each trial that has a value.

    `choose` returns the best point of the trials that have ended with a value; see `best_value`,
    which is the default.
    """
    spent = sorted((now, step.seconds) for trial in trials for now, step in trial.steps)
    costs = np.cumsum([seconds for _, seconds in spent])
    times = np.array([now for now, _ in spent])
    points: BestPoints = []
    ended: list[SimulatedTrial] = []
    for trial in sorted(trials, key=lambda trial: trial.steps[-1][0]):
        now, last = trial.steps[-1]
        if last.value is not None:
            ended.append(trial)
        if ended:
            cost = float(costs[np.searchsorted(times, now, side="right") - 1])
            points.append((cost, (choose or best_value)(ended)))
    return points


def best_value(ended: Sequence[SimulatedTrial]) -> Point:
    """Return the point with the best value, as of `best` in summary.json."""

    def key(trial: SimulatedTrial) -> tuple[bool, float, int]:
        value = trial.steps[-1][1].value
        assert value is not None
        return trial.state != "finished", value, trial.number

    return min(ended, key=key).point


def best_expected(space: SearchSpace, total_kimg: float) -> Choose:
    """Return a function that returns the point with the best expected value.

    It is that of summary.json, but with the most probable hyperparameters only, which is faster.
    """
    start: Hyperparameters | None = None

    def choose(ended: Sequence[SimulatedTrial]) -> Point:
        nonlocal start
        if len(ended) < MIN_TRIALS:
            return best_value(ended)
        trials = [trial_of(trial) for trial in ended]
        points = encode(space, [trial.point for trial in trials])
        rows = rows_of(trials, total_kimg, MAX_ROWS)
        start = fit(points, rows, prior(len(points)), start)
        means = Posterior(start, points, rows).means(points, np.zeros(len(trials)))
        return ended[int(np.argmin(means))].point

    return choose


def trial_of(simulated: SimulatedTrial) -> Trial:
    """Return a simulated trial as the Gaussian process reads it."""
    steps = [step for _, step in simulated.steps]
    return Trial(
        simulated.point,
        {step.kimg: step.value for step in steps if step.value is not None},
        is_running=simulated.state == "running",
        is_infeasible=any(step.value is None for step in steps),
    )
