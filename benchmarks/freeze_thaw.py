"""A sampler that may pause trainings, go on with them, and repeat a point with another seed.

The product trains each new point to its end. This sampler has the product's Gaussian process, but
more moves (Swersky et al. 2014, "Freeze-Thaw Bayesian Optimization"). For each free worker, it
takes the move with the largest knowledge gradient, or the largest one for its cost. It exists to
measure whether these moves would help.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from replay import SimulatedTrial, Step, cost
from search_task import BUDGET, WORKERS, BestPoints, Task, best_expected, best_points, trial_of

from fastgan_ray.data.plain import plain_share_of
from fastgan_ray.search.curves.acquisition import Actions, knowledge_gradient
from fastgan_ray.search.curves.choice import Pool, fitted, random_pool, with_running
from fastgan_ray.search.curves.kernel import Array, Hyperparameters
from fastgan_ray.search.file.spec import SearchSpec, base_config, start_point
from fastgan_ray.search.knowledge.responses import Knowledge, knowledge_of

KEPT = 100  # new points for which the knowledge gradient is computed
STOPS = (0.25, 0.5, 1.0)  # shares of a training at which it may pause


@dataclass(frozen=True)
class Moves:
    """What the sampler may do beside whole trainings of new points."""

    pauses: bool = False  # pause a training at `STOPS`, and go on with it later
    seeds: bool = False  # train a tried point again, with another seed
    by_cost: bool = False  # divide gains by the expected seconds


@dataclass
class State:
    """Everything that the next move depends on."""

    spec: SearchSpec
    knowledge: Knowledge | None
    pool: Pool
    trials: list[SimulatedTrial]
    hyper: Hyperparameters | None = None


def search(moves: Moves, task: Task, seed: int) -> BestPoints:
    """Search a task; the best point is that with the best expected value."""
    spec = task.spec("method: bayes\nsampler: curves", "", seed, task.kimg[-1])
    knowledge = knowledge_of(spec, plain=plain_share_of(base_config(spec).data))
    state = State(spec, knowledge, random_pool(spec.space, seed, task.kimg[-1], knowledge), [])
    queue: list[tuple[float, int]] = []  # (time of the next report, trial)
    ends: dict[int, int] = {}  # {running trial: the number of reports at which it pauses or ends}
    now = 0.0
    while True:
        while len(queue) < WORKERS and cost(state.trials) < BUDGET:
            number, until = _next_move(state, moves, task, seed)
            trial = state.trials[number]
            trial.state, ends[number] = "running", until
            heapq.heappush(queue, (now + trial.curve[len(trial.steps)].seconds, number))
        if not queue:
            choose = best_expected(spec.space, task.kimg[-1])
            return best_points(state.trials, choose)
        now, number = heapq.heappop(queue)
        trial = state.trials[number]
        trial.steps.append((now, trial.curve[len(trial.steps)]))
        done = len(trial.steps)
        if done < min(ends[number], len(trial.curve)):
            heapq.heappush(queue, (now + trial.curve[done].seconds, number))
        elif done < len(trial.curve):
            trial.state = "paused"
        else:
            trial.state = "diverged" if trial.steps[-1][1].value is None else "finished"


def _start(state: State, task: Task, point: Mapping[str, Any], seed: int) -> int:
    number = len(state.trials)
    curve: Sequence[Step] = task.curve(dict(point), seed + 1000 * number)
    state.trials.append(SimulatedTrial(number, dict(point), 0.0, curve))
    return number


def _next_move(state: State, moves: Moves, task: Task, seed: int) -> tuple[int, int]:
    """Return a trial, new or paused, and the number of reports at which it pauses or ends."""
    rows = len(task.kimg)
    spec, rng = state.spec, random.Random(f"{seed} {len(state.trials)} {cost(state.trials)}")
    if not state.trials:
        return _start(state, task, start_point(spec), seed), rows
    trials = [trial_of(trial) for trial in state.trials]
    if not any(trial.values for trial in trials):
        return _start(state, task, rng.choice(state.pool.points), seed), rows
    posterior = fitted(spec.space, trials, task.kimg[-1], state.hyper, state.knowledge)
    state.hyper = posterior.hyper
    posterior = with_running(posterior, trials, task.kimg[-1])
    means = posterior.means(state.pool.columns, state.pool.ends) + state.pool.effects
    new = np.argsort(means)[:KEPT]
    feasible = [index for index, trial in enumerate(trials) if not trial.is_infeasible]
    known = [part[feasible] for part in posterior.points]
    candidates = [
        np.concatenate([one, part[new]])
        for one, part in zip(known, state.pool.columns, strict=True)
    ]
    tried = [trials[index].point for index in feasible]
    knowledge, count = state.knowledge, len(feasible)
    likely = knowledge.likely_effects(tried) if knowledge else np.zeros(count)
    effects = np.concatenate([likely, state.pool.effects[new]])
    stops = STOPS if moves.pauses else (1.0,)
    # (index in `candidates`, trial that goes on or -1, reports)
    choices = [
        (len(feasible) + i, -1, max(1, round(stop * rows)))
        for i in range(len(new))
        for stop in stops
    ]
    for place, index in enumerate(feasible):
        trial = state.trials[index]
        if trial.state == "paused":
            later = (max(1, round(stop * rows)) for stop in stops)
            choices += [(place, index, until) for until in later if until > len(trial.steps)]
        elif moves.seeds and trial.state == "finished":
            choices.append((place, -1, rows))
    point, trial_index, until = (np.array(column) for column in zip(*choices, strict=True))
    times = np.log(np.array(task.kimg)[until - 1] / task.kimg[-1])
    gains = knowledge_gradient(
        posterior,
        candidates,
        np.zeros(len(effects)),
        len(feasible),
        Actions(point, trial_index, times),
        0.0,
        effects,
    )
    if moves.by_cost:
        done = np.array([len(state.trials[i].steps) if i >= 0 else 0 for i in trial_index])
        gains = gains / ((until - done) * _seconds(state, candidates, posterior.points)[point])
    best = int(np.argmax(gains))
    if trial_index[best] >= 0:
        return int(trial_index[best]), int(until[best])
    if point[best] < len(feasible):
        chosen: Mapping[str, Any] = trials[feasible[point[best]]].point
    else:
        chosen = state.pool.points[new[point[best] - len(feasible)]]
    return _start(state, task, chosen, seed), int(until[best])


def _seconds(state: State, candidates: Sequence[Array], tried: Sequence[Array]) -> Array:
    """Return the expected seconds of a report at each candidate: those of similar trials."""
    seconds = np.array([trial.curve[0].seconds for trial in state.trials])
    distances = sum(
        ((a[:, None] - b[None]) ** 2).sum(-1) for a, b in zip(candidates, tried, strict=True)
    )
    weights = np.exp(-np.asarray(distances))
    return np.asarray((weights @ seconds + seconds.mean()) / (weights.sum(axis=1) + 1))
