"""Add the tags "best" and "confirmed" to the W&B runs of trials at the end of a search.

At that time, the W&B run of a trial has already ended, so it is opened again. In offline mode, the
run then has two folders. The values in the newer folder replace the values in the older folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import SearchSpec, run_config, start_point
from fastgan_ray.tune.preflight import absolute_paths
from fastgan_ray.tune.wandb.rows import summary as summarise
from fastgan_ray.tune.wandb.rows import update
from fastgan_ray.tune.wandb.session import Session, close
from fastgan_ray.tune.wandb.trial_run import BEST, CONFIRMED, config_of, tags_of, title_of

Summary = Mapping[str, Any]


def tag_trials(session: Session, summary: Summary) -> None:
    """Add tags to the W&B runs of a search's best trial and of its confirmed trial.

    The runs that had these tags before, and no longer deserve them, lose them. `summary` is the
    content of summary.json.
    """
    file = session.folder / "search.yaml"
    overrides = json.loads((session.folder / "overrides.json").read_text())
    spec = spec_from_text(file.read_text(), str(file), overrides)
    before = [path.stem for path in (session.folder / "wandb").glob("*.tags")]
    for trial_id, tags in {**{name: [] for name in before}, **outcome_tags(summary)}.items():
        _tag(session, spec, summary, trial_id, tags)


def outcome_tags(summary: Summary) -> dict[str, list[str]]:
    """Return the tags of a search's best trial and of its confirmed trial, by the trial's id.

    `summary` is the content of summary.json.
    """
    tags: dict[str, list[str]] = {}
    best = summary.get("best") or {"trial_id": None}
    if best["trial_id"] is not None:  # None: the default, which was trained only to confirm
        tags.setdefault(best["trial_id"], []).append(BEST)
    confirmation = summary.get("confirmation") or {}
    for arm in confirmation.get("arms", ()):
        is_searched = arm["name"] == confirmation["searched"]
        if is_searched and arm["trial_id"] and arm["verdict"] == "better":
            tags.setdefault(arm["trial_id"], []).append(CONFIRMED)
    return tags


def _tag(
    session: Session, spec: SearchSpec, summary: Summary, trial_id: str, tags: Sequence[str]
) -> None:
    """Open the W&B run of a trial again, and replace the tags that the outcome gives by `tags`.

    Do nothing if the run already has these tags, or if it cannot be opened again.
    """
    trial = next(trial for trial in summary["trials"] if trial["trial_id"] == trial_id)
    mark = session.folder / "wandb" / f"{trial_id}.tags"
    if not session.can_reopen(trial_id) or (mark.is_file() and mark.read_text() == str(tags)):
        return
    point, default, known = trial["point"], start_point(spec), dict[str, Any]()
    for row in read_rows(session.folder / "trials" / trial_id):
        known = update(known, row, spec.metric)
    known["reason"] = trial["reason"]
    run = session.open(
        trial_id,
        session.trial_job,
        title_of(trial_id, point, default),
        config_of(absolute_paths(run_config(spec, point)).model_dump(), point),
        [*tags_of(point, default, trial["state"]), *tags],
    )
    run.summary.update(summarise(trial["state"], known, spec.metric.name))
    mark.write_text(str(tags))
    close(run)
