"""A search in simulated time: the product's own searcher and stopping rules on given curves.

No process starts and nobody waits: trials are lists of (kimg, value, error, seconds), which workers
take as the searcher suggests them, and the clock jumps from report to report.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.metrics.names import fakes_error_name
from fastgan_ray.search.file.spec import SearchSpec, base_config
from fastgan_ray.search.stopping import StoppingRules
from fastgan_ray.search.warm_start import Prior
from fastgan_ray.tune.driver.early_stopping import observation_of
from fastgan_ray.tune.search import longest_kimg
from fastgan_ray.tune.suggest.searcher import FINISHED, StudySearcher


class Step(NamedTuple):
    """A report: position, value (None = the trial ends here, badly), standard error, duration."""

    kimg: float
    value: float | None
    error: float = 0.0
    seconds: float = 1.0
    outcome: str = "running"


CurveOf = Callable[[dict[str, Any], RunConfig], Sequence[Step]]


@dataclass
class Played:
    """A trial as it went: its point, the times of its reports (seconds from the start), its end."""

    number: int
    point: dict[str, Any]
    began: float
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
    priors: Sequence[Prior] = (),
) -> list[Played]:
    """Play a search to its end; the trials in the order of their start.

    No trial begins once `budget` seconds of work are done. `interrupt` is asked after each report,
    by their count, whether the driver dies: searcher and rules are then made anew from what a
    restart has.
    """
    journal = folder / "study.journal"
    searcher = StudySearcher(spec, journal, workers, priors=priors)
    judges = _judges(spec)
    trials: list[Played] = []
    queue: list[tuple[float, int, int]] = []  # (time, trial, step)
    now, reports, curves = 0.0, 0, dict[int, Sequence[Step]]()

    def start() -> None:
        while len(queue) < workers and cost(trials) < budget:
            suggestion = searcher.suggest("simulated")
            if suggestion is None or suggestion == FINISHED:
                return
            trial = Played(suggestion["number"], suggestion["point"], now)
            trials.append(trial)
            curve = curve_of(trial.point, RunConfig.model_validate(suggestion["run"]))
            curves[trial.number] = curve
            heapq.heappush(queue, (now + curve[0].seconds, trial.number, 0))

    start()
    while queue:
        now, number, index = heapq.heappop(queue)
        trial, curve = trials[number], curves[number]
        step = curve[index]
        trial.steps.append((now, step))
        last = index == len(curve) - 1
        row = _row(spec, step, last)
        name = f"{number:05d}"
        if step.value is not None and not last:
            searcher.on_trial_result(name, row)
        reading = observation_of(row, number, spec.metric)
        reason = judges.decide(reading) if reading is not None else ""
        if last or step.value is None:
            trial.state = row["outcome"]
        elif reason:
            trial.state, trial.reason = "stopped", reason
        if trial.state == "running":
            heapq.heappush(queue, (now + curve[index + 1].seconds, number, index + 1))
        else:
            searcher.on_trial_complete(name, row)
        reports += 1
        if interrupt(reports):
            searcher, judges = _restarted(spec, searcher, folder, workers, trials)
        start()
    return trials


def cost(trials: Sequence[Played]) -> float:
    """Seconds of work in all trials."""
    return sum(step.seconds for trial in trials for _, step in trial.steps)


def _judges(spec: SearchSpec) -> StoppingRules:
    return StoppingRules(
        spec.early_terminate, longest_kimg(spec) or base_config(spec).train.total_kimg
    )


def _row(spec: SearchSpec, step: Step, last: bool) -> dict[str, Any]:
    if step.value is None:
        return {"kimg": step.kimg, "outcome": step.outcome}
    name = spec.metric.name
    outcome = "finished" if last else "running"
    row = {"kimg": step.kimg, name: step.value, fakes_error_name(name): step.error}
    return row | {cost.name: 1.0 + step.value for cost in spec.costs} | {"outcome": outcome}


def _restarted(
    spec: SearchSpec, searcher: StudySearcher, folder: Path, workers: int, trials: list[Played]
) -> tuple[StudySearcher, StoppingRules]:
    searcher.save(str(folder / "searcher.pkl"))
    again = StudySearcher(spec, folder / "study.journal", workers)
    again.restore(str(folder / "searcher.pkl"))
    judges = _judges(spec)
    for trial in trials:
        for _, step in trial.steps:
            reading = observation_of(_row(spec, step, False), trial.number, spec.metric)
            if reading is not None:
                judges.decide(reading)
    return again, judges
