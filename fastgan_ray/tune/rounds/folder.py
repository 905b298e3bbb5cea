"""Prepare and read the folder of a confirmation, which is inside the search's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from fastgan_ray.files import write_atomically
from fastgan_ray.search.ablation import AblationSpec
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.file.spec import DEFAULT
from fastgan_ray.search.sequential import Rules
from fastgan_ray.tune.driver.budget import FILE as BUDGET
from fastgan_ray.tune.driver.budget import Used

FOLDER = "confirm"  # the confirmation's folder, inside the search's folder
# A JSON file in FOLDER. "earlier" has the names of the trials that ended before the confirmation
# got more trials or seeds; they do not run again. "looks" has the numbers of seeds after which the
# confirmation decides. "number" counts the starts: a confirmation that gets more trials or seeds
# starts again.
START = "start.json"


def confirmation_size(folder: Path) -> tuple[int, tuple[int, ...]]:
    """Return how many trials a confirmation trains again, and the confirmation's seeds.

    `folder` is the confirmation's folder. Returns (0, ()) if the confirmation has not started.
    """
    path = folder / "ablation.yaml"
    if not path.is_file():
        return 0, ()
    spec = ablation_from_text(path.read_text(), str(path))
    return len(spec.arms) - 1, spec.seeds


def summary_of(folder: Path) -> dict[str, Any]:
    """Return the content of a confirmation's ablation.json; without the file, it has no trials."""
    path = folder / "ablation.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {"trials": []}


def used_by(folder: Path) -> Used:
    """Return what a confirmation has used so far, over all its starts."""
    path = folder / BUDGET
    time = json.loads(path.read_text()) if path.is_file() else {}
    kimg = sum(trial["kimg"] for trial in summary_of(folder)["trials"])
    return Used(kimg, time.get("seconds", 0.0), time.get("gpu_seconds", 0.0))


def reusable_kimg(folder: Path) -> float:
    """Return the kimg of a confirmation's trainings of the published default.

    A confirmation with other trials uses these trainings again.
    """
    trials = summary_of(folder)["trials"]
    return sum((trial["kimg"] for trial in trials if trial["arm"] == DEFAULT), 0.0)


def _start_of(folder: Path) -> dict[str, Any]:
    """Return the content of the file START; {} if the confirmation has not started."""
    path = folder / START
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def start_number(text: str | None) -> int:
    """Return how often a confirmation has started; `text` is the content of START, or None."""
    return 0 if text is None else int(json.loads(text).get("number", 1))


def earlier_trials(folder: Path) -> list[str]:
    """Return the names of the trials that ended before the confirmation became larger."""
    return list(_start_of(folder)["earlier"])


def trains_all_seeds(folder: Path) -> bool:
    """Return whether a confirmation trains all its seeds before it decides (`--seeds`)."""
    return len(_start_of(folder).get("looks", [])) == 1


def is_started(folder: Path, ablation: AblationSpec, rules: Rules) -> bool:
    """Return whether the confirmation has started with these settings."""
    file = folder / "ablation.yaml"
    is_same = file.is_file() and file.read_text() == ablation.text
    return is_same and _start_of(folder).get("looks") == list(rules.looks)


def start(folder: Path, ablation: AblationSpec, rules: Rules, ended: list[str]) -> None:
    """Prepare a confirmation's folder for a start with new settings.

    The confirmation may be new, or it may have more trials or seeds than before. `ended` has the
    names of the trials that do not run again. Ray's old state is removed.
    """
    folder.mkdir(exist_ok=True)
    shutil.rmtree(folder / "state", ignore_errors=True)
    overrides = {"set": {}, "seeds": list(ablation.seeds)}
    path = folder / START
    number = 1 + start_number(path.read_text() if path.is_file() else None)
    facts = {"earlier": ended, "looks": list(rules.looks), "number": number}
    write_atomically(folder / START, json.dumps(facts))
    write_atomically(folder / "overrides.json", json.dumps(overrides))
    write_atomically(folder / "ablation.yaml", ablation.text)
