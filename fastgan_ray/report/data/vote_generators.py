"""Collect the generators that a blind vote compares: trials, and arms of ablations.

A generator is a dict:
- "name": its name in results.
- "run", "folder": the name and the path of the run's folder.
- "trial", "arm": the id of the trial or the name of the arm; the other value is None.
- "data": the name of the data set in an ablation, else "".
- "grids": {cell: path of a grid of samples}. A trial has one grid, and its cell is "". An arm has a
  grid for each seed, and the cell is the seed as text. Arms are compared at equal seeds if
  possible.
- "values", "minimize": {metric: value} and {metric: whether lower is better}.
- "protocol": how the metrics were measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import early_name, without_errors
from fastgan_ray.report.data.ranking import ranked
from fastgan_ray.report.data.run_folder import (
    Run,
    Trial,
    latest_picture,
    protocol_of,
    read_run,
    run_folder,
)

Generator = dict[str, Any]

BEST = 4  # number of trials of a search if it is the only run on the page
# The names of kernel distances.
KERNEL = re.compile(r"early/kid|kid\d\w*|(early/)?kd_\w+")


def vote_generators(paths: Sequence[Path], top: int | None = None) -> list[Generator]:
    """Return the generators of the runs and trials at `paths`, in the order of `paths`.

    A search adds its `top` best trials and, if `top` is above 1, the published default. If `top` is
    None, it is 4 for a single path, else 1. An ablation adds its arms, trained on its first data
    set. Raise UserError if there are fewer than two generators, or if their reference pictures
    differ.
    """
    top = top or (BEST if len(paths) == 1 else 1)
    every = (generator for path in paths for generator in _generators(path.resolve(), top))
    # A trial and its search may both be given.
    generators = list({(g["folder"], g["trial"], g["arm"]): g for g in every}.values())
    if len({generator["folder"] for generator in generators}) > 1:
        generators = [{**g, "name": f"{g['run']}: {g['name']}"} for g in generators]
    if len(generators) < 2:
        raise UserError(
            f"a vote needs at least 2 generators with a grid of samples (got {len(generators)}). "
            "Name more runs, or wait until the trainings have been evaluated"
        )
    _require_same_pictures(generators)
    return generators


def _generators(path: Path, top: int) -> list[Generator]:
    folder = run_folder(path)
    run = read_run(folder)
    if folder != path:
        trials = [trial for trial in run["trials"] if trial["trial_id"] == path.name]
    elif run["kind"] == "ablation":
        return _arms(run)
    else:
        trials = _best_trials(run, top)
    return [_trial_generator(run, trial) for trial in trials if latest_picture(trial, "grid")]


def _best_trials(run: Run, top: int) -> list[Trial]:
    """Return the `top` best trials and, if `top` is above 1, the trial of the published default."""
    order = [trial for trial in ranked(run) if latest_picture(trial, "grid")]
    best, default = order[:top], _default(run)
    rest = [trial for trial in order[top:] if trial["trial_id"] == default]
    return best + (rest if top > 1 else [])


def _default(run: Run) -> str | None:
    """Return the id of the trial that used the published default, or None if there is none."""
    default = (run["account"] or {}).get("default") or {}
    return default.get("trial_id")


def _trial_generator(run: Run, trial: Trial) -> Generator:
    identity = trial["trial_id"]
    default = " (the published default)" if identity == _default(run) else ""
    data = trial["point"].get("data", "")
    grids = {"": latest_picture(trial, "grid")}
    return {
        **_measured(run, [trial], data),
        "name": f"trial {identity}{default}",
        "trial": identity,
        "arm": None,
        "grids": grids,
    }


def _arms(run: Run) -> list[Generator]:
    """Return a generator for each arm of an ablation that has a grid of samples.

    Only trainings on the ablation's first data set are used.
    """
    account = run["account"] or {"arms": [], "data": [""]}
    data = account["data"][0]
    generators = []
    for arm in account["arms"]:
        cell = {"arm": arm["name"], "data": data}
        trials = [trial for trial in run["trials"] if cell.items() <= trial["point"].items()]
        pictures = {str(t["point"]["seed"]): latest_picture(t, "grid") for t in trials}
        grids = {seed: path for seed, path in pictures.items() if path}
        if grids:
            measured = _measured(run, trials, data)
            generators.append(
                {**measured, "name": arm["name"], "trial": None, "arm": arm["name"], "grids": grids}
            )
    return generators


def _measured(run: Run, trials: Sequence[Trial], data: str) -> Generator:
    """Return the fields of a generator that trials and arms have in common.

    "values" has the mean of the run's metric, and the mean of each kernel distance. The means are
    over the last rows of `trials`.
    """
    rows = [trial["rows"][-1] for trial in trials if trial["rows"]]
    metric, goal = run["metric"]["name"], run["metric"]["goal"]
    names = [metric, early_name(metric)]
    names += [name for name in without_errors(rows[0] if rows else ()) if KERNEL.fullmatch(name)]
    measured = [name for name in dict.fromkeys(names) if rows and all(name in r for r in rows)]
    minimize = dict.fromkeys(names[:2], goal == "minimize")
    return {
        "run": run["name"],
        "folder": Path(run["folder"]),
        "data": data,
        "values": {name: sum(row[name] for row in rows) / len(rows) for name in measured},
        "minimize": {name: minimize.get(name, True) for name in measured},
        "protocol": protocol_of(run, trials, data),
    }


def _require_same_pictures(generators: Sequence[Generator]) -> None:
    sets = {g["protocol"].get("reference"): g["name"] for g in generators}
    sets.pop(None, None)
    if len(sets) > 1:
        first, second, *_ = sets.values()
        raise UserError(
            f"{first} and {second} were measured on different pictures. A vote can compare only "
            f"generators that were measured on the same pictures"
        )
