"""What another search has found, as a start for this one: on other pictures, or smaller ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgan_ray.errors import UserError
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.space import SearchSpace


@dataclass(frozen=True)
class Prior:
    """A trial of another search: as much of its point as this space contains, and its rank from 0,
    the best. Ranks, not values: those were measured against other pictures."""

    point: dict[str, Any]
    rank: int
    trial_id: str


def load_priors(run: Path, spec: SearchSpec) -> list[Prior]:
    """The trials of the search in folder `run`, the best first; finished before stopped ones.

    UserError if it is no search's folder, or has nothing in common with this space.
    """
    path = run / "summary.json"
    if not path.is_file():
        raise UserError(f"--from {run}: no summary.json in it; name the folder of a search")
    if spec.method == "grid":
        raise UserError("--from: a grid tries every point in its order; use method bayes or random")
    summary = json.loads(path.read_text())
    sign = -1 if summary["metric"]["goal"] == "maximize" else 1
    valued = [one for one in summary["trials"] if one["value"] is not None]
    known = [one for one in valued if one["state"] in ("finished", "stopped")]
    known.sort(key=lambda one: (-one["kimg"], sign * one["value"], one["trial_id"]))
    points = [_within(spec.space, one["point"]) for one in known]
    pairs = [(point, one["trial_id"]) for point, one in zip(points, known, strict=True) if point]
    if not pairs:
        raise UserError(
            f"--from {run}: none of its {len(summary['trials'])} trials has a value and a point in "
            "this search space; begin without it"
        )
    return [Prior(point, rank, name) for rank, (point, name) in enumerate(pairs)]


def _within(space: SearchSpace, point: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `point` that lies in the space."""
    found: dict[str, Any] = {}
    for parameter in space:
        value = point.get(parameter.name)
        if parameter.name in point and parameter.active(found) and parameter.contains(value):
            found[parameter.name] = value
    return found
