"""Load trials of another search, so that a new search learns from them (`--from`).

The other search may have used other pictures or a smaller resolution.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastgan_ray.config.run_config import flatten
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.repeats import configuration_key, mean_values
from fastgan_ray.search.space import SearchSpace

FILE = "earlier_trials.json"  # in the folder of a search that was started with --from


@dataclass(frozen=True)
class EarlierTrial:
    """A trial of an earlier search, from which a new search can learn.

    `point` has those parameter values of the trial that are possible in the new search. `rank` is
    the position of the trial in the result of `load_earlier_trials`, from 0. There is no field for
    the metric's value, because values on different pictures cannot be compared.
    """

    point: dict[str, Any]
    rank: int
    trial_id: str


def load_earlier_trials(run: Path, spec: SearchSpec) -> list[EarlierTrial]:
    """Load the trials of another search, whose folder is `run`, for the new search `spec`.

    Finished trials come first, sorted by value, the best first. Of the trials that were stopped
    early, those with the most kimg come first. Trials that differ only in the seed count as one
    trial with their mean value. Raise UserError if `run` is not the folder of a search, or if the
    new search is a grid. Also raise UserError if no trial has both a metric value and a parameter
    value that is possible in the new search.
    """
    path = run / "summary.json"
    if not path.is_file():
        raise UserError(f"--from {run}: has no summary.json; name the folder of a search")
    if spec.method == "grid":
        raise UserError(
            "--from: cannot be used with method grid, which tries all combinations in a "
            "fixed order; use method bayes or random"
        )
    summary = json.loads(path.read_text())
    sign = -1 if summary["metric"]["goal"] == "maximize" else 1
    trials = [
        trial
        for trial in summary["trials"]
        if trial["value"] is not None and trial["state"] in ("finished", "stopped")
    ]
    means = zip(mean_values(trials), trials, strict=True)

    def key(pair: tuple[float, dict[str, Any]]) -> tuple[float, float, str]:
        mean, trial = pair
        # The last batch of a training may exceed its end, so lengths of finished trials may differ.
        kimg = math.inf if trial["state"] == "finished" else trial["kimg"]
        return -kimg, sign * mean, trial["trial_id"]

    order = sorted(means, key=key)
    configurations: dict[str, dict[str, Any]] = {}
    for _, trial in order:
        configurations.setdefault(configuration_key(trial["point"]), trial)
    points = [
        (_part_in(spec.space, flatten(trial["point"])), trial["trial_id"])
        for trial in configurations.values()
    ]
    points = [(point, trial_id) for point, trial_id in points if point]
    if not points:
        raise UserError(
            f"--from {run}: none of its trials ({len(summary['trials'])}) has both a "
            "value and settings that are possible in this search; start without --from"
        )
    return [EarlierTrial(point, rank, trial_id) for rank, (point, trial_id) in enumerate(points)]


def earlier_trials_file(trials: Sequence[EarlierTrial]) -> dict[str, str]:
    """Return {name: content} of the file that `read_earlier_trials` reads; {} without trials."""
    return {FILE: json.dumps([asdict(trial) for trial in trials], indent=1)} if trials else {}


def read_earlier_trials(folder: Path) -> list[EarlierTrial]:
    """Return the earlier trials with which the search in `folder` was started."""
    path = folder / FILE
    trials = json.loads(path.read_text()) if path.is_file() else []
    return [EarlierTrial(**trial) for trial in trials]


def _part_in(space: SearchSpace, point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameter values of `point` that are possible in `space`."""
    part: dict[str, Any] = {}
    for parameter in space:
        value = point.get(parameter.name)
        if parameter.name in point and parameter.active(part) and parameter.contains(value):
            part[parameter.name] = value
    return part
