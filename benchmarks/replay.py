"""Simulate a search: the product's searcher and stopping rules on given learning curves.

No process starts and no time passes: a trial is a list of (kimg, value, error, seconds), workers
take trials as the searcher suggests them, and the clock jumps from report to report.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.metrics.names import fakes_error_name
from fastgan_ray.search.file.spec import SearchSpec, longest_kimg
from fastgan_ray.search.repeats import is_repeat
from fastgan_ray.search.stopping import StoppingRules
from fastgan_ray.search.warm_start import EarlierTrial
from fastgan_ray.tune.driver.scheduler import observation_of
from fastgan_ray.tune.ray.compat import FINISHED
from fastgan_ray.tune.suggest.searcher import StudySearcher


class Step(NamedTuple):
    """A report: position, value (None = the trial goes wrong here), standard error, duration."""

    kimg: float
    value: float | None
    error: float = 0.0
    seconds: float = 1.0
    outcome: str = "running"


CurveOf = Callable[[dict[str, Any], RunConfig], Sequence[Step]]


@dataclass
class SimulatedTrial:
    """A trial: its point, its curve, its reports so far (with their times), and its end."""

    number: int
    point: dict[str, Any]
    start: float
    curve: Sequence[Step] = ()
    steps: list[tuple[float, Step]] = field(default_factory=list)
    state: str = "running"
    reason: str = ""


def replay(
    spec: SearchSpec,
    curve_of: CurveOf,
    folder: Path,
    workers: int = 2,
    budget: float = float("inf"),
    interrupt: Callable[[int], bool] = lambda reports: False,
    earlier_trials: Sequence[EarlierTrial] = (),
) -> list[SimulatedTrial]:
    """Simulate a search to its end; return its trials in the order of their start.

    No trial starts once `budget` seconds of work are done. After each report, `interrupt` of the
    number of reports decides whether the driver dies; if so, the searcher and the rules are made
    again from what a restart has.
    """
    searcher = StudySearcher(spec, folder / "study.journal", workers, earlier_trials=earlier_trials)
    rules = _make_rules(spec)
    trials: list[SimulatedTrial] = []
    queue: list[tuple[float, int, int]] = []  # (time, trial, step)
    now, reports = 0.0, 0

    def start_trials() -> None:
        while len(queue) < workers and cost(trials) < budget:
            trial = _next_trial(searcher, curve_of, now)
            if trial is None:
                return
            trials.append(trial)
            heapq.heappush(queue, (now + trial.curve[0].seconds, trial.number, 0))

    start_trials()
    while queue:
        now, number, index = heapq.heappop(queue)
        trial = trials[number]
        trial.steps.append((now, trial.curve[index]))
        _report(spec, trial, searcher, rules)
        if trial.state == "running":
            heapq.heappush(queue, (now + trial.curve[index + 1].seconds, number, index + 1))
        reports += 1
        if interrupt(reports):
            searcher, rules = _restarted(spec, searcher, folder, workers, trials)
        start_trials()
    return trials


def cost(trials: Sequence[SimulatedTrial]) -> float:
    """Return the seconds of work in all trials."""
    return sum(step.seconds for trial in trials for _, step in trial.steps)


def _next_trial(searcher: StudySearcher, curve_of: CurveOf, now: float) -> SimulatedTrial | None:
    suggestion = searcher.suggest("simulated")
    if suggestion is None or suggestion == FINISHED:
        return None
    number, point = suggestion["number"], suggestion["point"]
    curve = curve_of(point, RunConfig.model_validate(suggestion["run"]))
    return SimulatedTrial(number, point, now, curve)


def _report(
    spec: SearchSpec, trial: SimulatedTrial, searcher: StudySearcher, rules: StoppingRules
) -> None:
    """Report a trial's newest step to the searcher and the rules; set its state."""
    step, is_last = trial.steps[-1][1], len(trial.steps) == len(trial.curve)
    row, name = _row(spec, step, is_last), f"{trial.number:05d}"
    if step.value is not None and not is_last:
        searcher.on_trial_result(name, row)
    observation = observation_of(row, trial.number, spec.metric)
    reason = ""
    if observation is not None and not is_repeat(spec, trial.point):
        reason = rules.decide(observation)
    if is_last or step.value is None:
        trial.state = row["outcome"]
    elif reason:
        trial.state, trial.reason = "stopped", reason
    if trial.state != "running":
        searcher.on_trial_complete(name, row)


def _make_rules(spec: SearchSpec) -> StoppingRules:
    return StoppingRules(spec.early_terminate, longest_kimg(spec))


def _row(spec: SearchSpec, step: Step, is_last: bool) -> dict[str, Any]:
    if step.value is None:
        return {"kimg": step.kimg, "outcome": step.outcome}
    name = spec.metric.name
    outcome = "finished" if is_last else "running"
    row = {"kimg": step.kimg, name: step.value, fakes_error_name(name): step.error}
    return row | {cost.name: 1.0 + step.value for cost in spec.costs} | {"outcome": outcome}


def _restarted(
    spec: SearchSpec,
    searcher: StudySearcher,
    folder: Path,
    workers: int,
    trials: list[SimulatedTrial],
) -> tuple[StudySearcher, StoppingRules]:
    searcher.save(str(folder / "searcher.pkl"))
    restored = StudySearcher(spec, folder / "study.journal", workers)
    restored.restore(str(folder / "searcher.pkl"))
    rules = _make_rules(spec)
    for trial in trials:
        for _, step in trial.steps:
            observation = observation_of(_row(spec, step, False), trial.number, spec.metric)
            if observation is not None and not is_repeat(spec, trial.point):
                rules.decide(observation)
    return restored, rules
