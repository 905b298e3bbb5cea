"""Collect the facts of a data set that `check` shows: number of pictures, faults and advice."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import counted
from fastgan_ray.data.catalog import catalog
from fastgan_ray.data.remarks import remarks
from fastgan_ray.data.sets import open_sets, require_different_limits
from fastgan_ray.errors import UserError
from fastgan_ray.progress import Track
from fastgan_ray.search.cost.advice import advice


def data_facts(
    config: RunConfig,
    largest: ModelConfig,
    track: Track,
    needs_data: bool,
    limits: Set[float | None] = frozenset(),
) -> dict[str, Any]:
    """Return the facts of the data set of `config`.

    The facts are {"path", "pictures", "note", "error", "remarks", "advice"}. "pictures" is the
    number of pictures, or None if it is unknown; in this case, "note" has the reason. "error" is
    the reason why the data cannot be used, or "". "remarks" are sentences about possible faults,
    and "advice" is the result of `advice`.

    `largest` is the model with the largest resolution. If `needs_data` is False, a missing path is
    not an error, because the run may start on another machine. `limits` are the values that
    `data.limit` has in an ablation's arms.
    """
    path = config.data.path
    facts: dict[str, Any] = {
        "path": path,
        "pictures": None,
        "note": "",
        "error": "",
        "remarks": [],
        "advice": [],
    }
    if note := _missing_data(path, needs_data):
        return facts | {"note": note}
    try:
        sets = open_sets(config, track)
        require_different_limits(limits, sets.pool)
        source = sets.training
    except UserError as error:
        return facts | {"note": "cannot be used", "error": str(error)}
    if len({(picture.sha256, picture.facts.frame) for picture in source.pictures}) == 1:
        pictures = counted(len(source), "picture")
        facts["error"] = f"{source.path}: all {pictures} are the same; at least two must differ"
    return facts | {
        "pictures": len(source),
        "remarks": remarks(source, config.data, largest.size),
        "advice": advice(source, config, largest.resolution),
    }


def _missing_data(path: str | None, needs_data: bool) -> str:
    """Return a text that says how to provide the pictures of a data set; "" if they exist.

    If `needs_data` is True, also return "" for a missing folder or archive. In this case, opening
    the data set reports the error.
    """
    if path is None:
        return "not set: add --data FOLDER when you start the run"
    rows = {row["name"]: row for row in catalog()}
    if not (needs_data or path in rows or Path(path).exists()):
        return f"{path} does not exist on this machine: add --data FOLDER when you start the run"
    if path in rows and not rows[path]["available"] and not Path(path).exists():
        put_at = rows[path]["put_at"]
        if put_at is None:
            return f"{path}: will be downloaded when it is first used"
        if not needs_data:
            return f"{path}: put its zip archive at {put_at} before you start"
    return ""


def unusable_data(facts: Mapping[str, Any]) -> str:
    """Return one line with the reason for each data set that cannot be used; "" if all can be used.

    `facts` are the facts of a search, an ablation or a training (see `search.cost.plan`).
    """
    return "\n".join(data["error"] for data in facts["data"] if data["error"])
