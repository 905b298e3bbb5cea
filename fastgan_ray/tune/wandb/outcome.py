"""Log the outcome of a run as an extra W&B run: leaderboard, files, the best checkpoint.

This W&B run has the leaderboard, the result files and the winner's checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fastgan_ray.config.schedule import as_text
from fastgan_ray.report.text import search_verdict
from fastgan_ray.search.expected import EXPECTED
from fastgan_ray.tune.wandb.session import Session, close, environment, search_id
from fastgan_ray.tune.wandb.tags import tag_trials

Summary = Mapping[str, Any]

# Stopped trials rank below finished trials, because their values come from shorter trainings.
RANKS = {"finished": 0, "stopped": 1}
COLUMNS = (
    *("trial_id", "state", "value", "error", *EXPECTED),
    *("kimg", "seconds", "reason", "warning"),
)
ARM_COLUMNS = (
    *("arm", "role", "verdict", "note", "seeds", "mean", "sd", "value in the search", "low"),
    *("high", "change in %", "change low", "change high", "p (corrected)"),
)
CELL = ("arm", "data", "seed")
# Result files of an experiment that are uploaded, in addition to search.yaml or ablation.yaml.
RESULT_FILES = (
    *("overrides.json", "summary.json", "trials.csv", "ablation.json", "ablation.md"),
    *("report.html", "confirm/ablation.json", "confirm/ablation.md", "confirm/report.html"),
)
# Files of the best generator, with the names that `fastgan-ray sample` expects.
WINNER = (
    *("config.yaml", "grid.png", "checkpoint/ema.safetensors", "checkpoint/metadata.json"),
    "checkpoint/discriminator.safetensors",  # needed to measure, export and look at the generator
)
MARK = "outcome.sha256"  # digest of the outcome that was logged last


def log_outcome(session: Session, kind: Literal["search", "ablation"], summary: Summary) -> None:
    """Log the outcome of a search or an ablation to W&B, if every trial has ended.

    `summary` is the content of summary.json or ablation.json. The outcome is a W&B run with the id
    `<search id>-outcome`. This W&B run contains the table `leaderboard`. It also contains the
    artifact `<group>-<kind>` with the experiment's YAML file and result files. For a confirmation,
    the artifact's name is `<group>-confirmation`. For a search, the W&B run also contains the
    artifact `<group>-best` with the winner's weights, configuration and metadata. Also, the W&B
    runs of the search's best trial and of its confirmed trial get tags.

    An outcome that was already logged is not logged again. Artifacts are first copied to the folder
    of W&B's files, so that an offline run can be uploaded later.
    """
    trials = summary["trials"]
    if trials and all(trial["state"] != "unfinished" for trial in trials):
        if kind == "search":  # first: after a slow upload, the runs of trials cannot be reopened
            session.attempt(tag_trials, session, summary)
        session.attempt(_log, session, kind, summary)


def leaderboard(
    summary: Summary, pictures: Mapping[str, Any]
) -> tuple[list[str | int], list[list[Any]]]:
    """Return the headings of the leaderboard, and one row for each trial, the best trial first.

    `summary` is the content of summary.json or ablation.json. `pictures` is a dict from a trial's
    id to a picture of the trial's samples.
    """
    sign = 1 if summary["metric"]["goal"] == "minimize" else -1

    def order(trial: Mapping[str, Any]) -> tuple[bool, int, float, str]:
        value, rank = trial["value"], RANKS.get(trial["state"], len(RANKS))
        return value is None, rank, sign * (value or 0.0), trial["trial_id"]

    trials = sorted(summary["trials"], key=order)
    points = [trial.get("point") or {key: trial.get(key) for key in CELL} for trial in trials]
    names = list(dict.fromkeys(name for point in points for name in point))
    rows = [
        [rank, pictures.get(trial["trial_id"]), *(trial.get(key) for key in COLUMNS)]
        for rank, trial in enumerate(trials, 1)
    ]
    for name in names:
        for row, cell in zip(
            rows, _of_one_type([point.get(name) for point in points]), strict=True
        ):
            row.append(cell)
    return ["rank", "samples", *COLUMNS, *names], rows


def _of_one_type(cells: list[Any]) -> list[Any]:
    """Convert all cells of a table column to text if they have different types.

    W&B needs one type per column. Integers and floats count as the same type. Lists, dicts and
    other objects also become text. None stays None.
    """
    kinds = {float if type(cell) is int else type(cell) for cell in cells if cell is not None}
    if len(kinds) <= 1 and kinds <= {float, str, bool}:
        return cells
    return [None if cell is None else str(as_text(cell)) for cell in cells]


def confirmation_table(
    confirmation: Mapping[str, Any] | None,
) -> tuple[list[str | int], list[list[Any]]] | None:
    """Return the headings and rows of a confirmation's table, one row for each arm.

    `confirmation` is summary["confirmation"]. Returns None if there is no confirmation, or if it
    has no arms.
    """
    if not confirmation or not confirmation["arms"]:
        return None
    rows = []
    for arm in confirmation["arms"]:
        roles = [role for role in ("searched", "winner") if confirmation[role] == arm["name"]]
        values = [None if value is None else float(value) for value in arm["values"]]
        intervals = [*(arm["interval"] or (None, None)), arm["change"]]
        intervals += [*(arm["change_interval"] or (None, None)), arm["p"]]
        numbers = [arm[key] for key in ("seeds", "mean", "sd", "search_value")]
        texts = [arm["name"], ", ".join(roles), arm["verdict"], arm["note"]]
        rows.append([*texts, *numbers, *intervals, *values])
    seeds = [f"seed {seed}" for seed in confirmation["seeds"]]
    return [*ARM_COLUMNS, *seeds], rows


def prediction_tables(summary: Summary) -> dict[str, tuple[list[str | int], list[list[Any]]]]:
    """Return the headings and rows of the tables "expected curves" and "importances".

    They have the expected learning curves of the best configurations, and the importance of each
    parameter, with intervals. Empty if the search has no expected values (see `with_expected`).
    """
    ranking = summary.get("ranking") or {}
    if not ranking.get("curves"):
        return {}
    curves = [
        [trial_id, *point] for trial_id, points in ranking["curves"].items() for point in points
    ]
    importances = [[name, *share] for name, share in ranking["importances"].items()]
    return {
        "expected curves": (["trial_id", "kimg", *EXPECTED[:3]], curves),
        "importances": (["parameter", "share of variance", "low", "high"], importances),
    }


def _log(session: Session, kind: str, summary: Summary) -> None:
    mark = session.folder / "wandb" / MARK
    digest = hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()
    if mark.is_file() and mark.read_text() == digest:
        return
    name = kind if session.outcome_job is None else "confirmation"
    facts = {"metric": dict(summary["metric"]), "trials": len(summary["trials"])}
    if marked := {arm["name"]: arm["shared_data"] for arm in summary.get("arms", ())}:
        facts["shared_data"] = marked  # {arm: training data that the metric shares with D}
    with environment("WANDB_DATA_DIR", _staging(session.folder)):
        run = session.open("outcome", session.outcome_job or kind, f"{session.group} {name}", facts)
        run.log(_tables(session.folder, summary))
        files = (f"{kind}.yaml", *RESULT_FILES)
        run.log_artifact(_artifact(f"{session.group}-{name}", name, {}, session.folder, files))
        best = summary.get("best")
        if best:
            winner = _winner(session, summary, best)
            model = _artifact(
                f"{session.group}-best", "model", winner, session.folder / "best", WINNER
            )
            run.log_artifact(model, aliases=["best", f"trial-{best['trial_id'] or 'default'}"])
            run.summary.update(winner)
    mark.write_text(digest)  # the run is on disk now, even if its upload fails
    close(run)


def _tables(folder: Path, summary: Summary) -> dict[str, Any]:
    """Return the W&B tables by name: "leaderboard", and those of `prediction_tables`.

    If there is a confirmation, there is also the table "confirmation".
    """
    import wandb

    pictures = {
        trial["trial_id"]: wandb.Image(str(path))
        for trial in summary["trials"]
        if (path := _newest_grid(folder / "trials" / trial["trial_id"]))
    }
    columns, rows = leaderboard(summary, pictures)
    tables = {"leaderboard": wandb.Table(columns=columns, data=rows)}
    if confirmation := confirmation_table(summary.get("confirmation")):
        columns, rows = confirmation
        tables["confirmation"] = wandb.Table(columns=columns, data=rows)
    for name, (columns, rows) in prediction_tables(summary).items():
        tables[name] = wandb.Table(columns=columns, data=rows)
    return tables


def _winner(session: Session, summary: Summary, best: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of the best generator.

    `best` is summary["best"]. In the result, "trial_run" is the id of the W&B run in which the
    generator was trained.
    """
    source = session.folder / best.get("source", f"trials/{best['trial_id']}")
    confirmation = summary.get("confirmation") or {}
    return {
        "trial": best["trial_id"],
        "trial_run": f"{search_id(source.parents[1] / 'wandb')}-{source.name}",
        "metric": summary["metric"]["name"],
        **{key: best[key] for key in ("value", "error", "state")},
        **_expected(summary, best["trial_id"]),
        "verdict": search_verdict(summary),
        "confirmation": confirmation.get("sentence", "none"),
        "protocol": summary["protocol"],
        "note": summary.get("note", ""),
    }


def _expected(summary: Summary, trial_id: str) -> dict[str, Any]:
    """Return the expected value of a trial, with its interval and chance, if they are known."""
    trials = (trial for trial in summary["trials"] if trial["trial_id"] == trial_id)
    trial: Mapping[str, Any] = next(trials, {})
    return {key: trial[key] for key in EXPECTED if trial.get(key) is not None}


def _artifact(
    name: str, kind: str, metadata: dict[str, Any], folder: Path, files: tuple[str, ...]
) -> Any:  # noqa: ANN401 - W&B's class, which is imported late
    import wandb

    artifact = wandb.Artifact(name, kind, metadata=metadata)
    for file in files:
        if (folder / file).is_file():
            artifact.add_file(str(folder / file), name=file)
    return artifact


def _newest_grid(trial: Path) -> Path | None:
    return max(trial.glob("grids/*.png"), default=None)


def _staging(folder: Path) -> str:
    """Return the folder for W&B's copies of artifacts: WANDB_DATA_DIR if set, else `folder`/wandb.

    `folder` is the experiment's folder.
    """
    return os.environ.get("WANDB_DATA_DIR") or str(folder / "wandb")
