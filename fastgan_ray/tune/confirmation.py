"""A search's confirmation on Ray: an ablation in its folder, and what becomes of best/."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastgan_ray.errors import UserError
from fastgan_ray.files import linked_copy, put_in_place, write_atomically
from fastgan_ray.metrics.names import fakes_error_name, value_of
from fastgan_ray.report.data.rows import read_rows
from fastgan_ray.search.ablation import AblationSpec, Cell, cell_config, cells
from fastgan_ray.search.confirmation import DEFAULT, Plan, confirmation_spec, outcome
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.tune.ablation import ablation_of
from fastgan_ray.tune.driver.results import keep_best
from fastgan_ray.tune.experiment import ExperimentContext, run_trials_and_follow_up
from fastgan_ray.tune.preflight import rooted
from fastgan_ray.tune.storage.sync import DriverSync, fetch_run

FOLDER = "confirm"  # in the search's
EARLIER = "earlier.json"  # in that: the trials of a smaller confirmation before it
ASIDE = "search-best"  # in that: the search's own best/, while a confirmed one is in its place


def confirm_search(
    spec: SearchSpec, plan: Plan, summary: dict[str, Any], folder: Path, stage: ExperimentContext
) -> dict[str, Any]:
    """Train what `plan` says and has not been trained yet; returns the summary, with its outcome.

    `summary` is the search's own (`own_summary`); summary.json and best/ follow the outcome.
    """
    place = folder / FOLDER
    store = stage.store.below(FOLDER) if stage.store else None
    if store:
        fetch_run(store, place)
    top, seeds = _with_those_before(place, plan)
    if not top and spec.confirm == "off":
        return _publish(folder, summary)
    if not top:
        return _publish(folder, {**summary, "confirmation": _none(plan.why)})
    try:
        ablation = confirmation_spec(spec, summary, top, seeds, _data_path(summary))
    except UserError as error:  # as where the space allows no default
        return _publish(folder, {**summary, "confirmation": _none(str(error))})
    if ablation is None:
        why = f"no trial beside the {DEFAULT} has a value to confirm"
        return _publish(folder, {**summary, "confirmation": _none(why)})
    count = len(ablation.arms) * len(ablation.seeds)
    stage.console.print(
        f"Confirmation: {count} trainings anew, {len(ablation.arms) - 1} of the best trials and "
        f"the {DEFAULT} with {len(ablation.seeds)} fresh seeds ({plan.why}).",
        highlight=False,
        soft_wrap=True,
    )
    mirror = DriverSync(store, place) if store else None
    own = replace(stage, store=store, mirror=mirror)
    account = _train(ablation, place, f"{folder.name}-{FOLDER}", own)
    if mirror:
        mirror.send()
    return settle(spec, plan, summary, ablation, account, folder)


def settle(
    spec: SearchSpec,
    plan: Plan,
    summary: dict[str, Any],
    ablation: AblationSpec,
    account: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """The summary with the outcome, written; best/ is the best arm's generator."""
    found = outcome(spec, summary, account)
    own = {key: summary[key] for key in ("best", "verdict", "best_beats_default")}
    settled = {**summary, "confirmation": {**found, "why": plan.why, "of_the_search": own}}
    winner = next((arm for arm in found["arms"] if arm["name"] == found["winner"]), None)
    if winner is None:
        return _publish(folder, settled)
    if winner["name"] == found["searched"]:
        _bring_back(folder)
    else:
        settled["best"] = _promote(spec, winner, ablation, account, folder)
    known = winner["name"] == DEFAULT or winner["verdict"] != "no verdict"
    settled["best_beats_default"] = winner["verdict"] == "better" if known else None
    settled["verdict"] = found["sentence"]
    return _publish(folder, settled)


def own_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A search's summary as it was before any confirmation."""
    before = (summary.get("confirmation") or {}).get("of_the_search", {})
    return {"budget": {}, **summary, **before, "confirmation": None}


def sizes_of(place: Path) -> tuple[int, int]:
    """How many trials and seeds the confirmation in a folder has; zeros without one."""
    path = place / "ablation.yaml"
    if not path.is_file():
        return 0, 0
    spec = ablation_from_text(path.read_text(), str(path))
    return len(spec.arms) - 1, len(spec.seeds)


def _with_those_before(place: Path, plan: Plan) -> tuple[int, int]:
    """Trials and seeds: those of the plan, and what has been begun is never given up."""
    top, seeds = sizes_of(place)
    return max(plan.top, top), max(plan.seeds, seeds)


def _train(
    ablation: AblationSpec, place: Path, name: str, stage: ExperimentContext
) -> dict[str, Any]:
    """Train the cells that have not ended; returns the account of all."""
    told = _told(place)
    order = _order(told, ablation)
    ended = {one["trial_id"]: one for one in told if one["state"] != "unfinished"}
    if not _is_begun(place, ablation):
        _begin(place, ablation, list(ended))
    if len(ended) == len(order):
        account: dict[str, Any] = json.loads((place / "ablation.json").read_text())
        return account
    before = {name: ended[name] for name in json.loads((place / EARLIER).read_text())}
    options = replace(stage.options, name=name, resume=True)
    experiment = ablation_of(ablation, order, before)
    return run_trials_and_follow_up(experiment, place, replace(stage, options=options))[1]


def _is_begun(place: Path, ablation: AblationSpec) -> bool:
    file = place / "ablation.yaml"
    return file.is_file() and file.read_text() == ablation.text


def _begin(place: Path, ablation: AblationSpec, ended: list[str]) -> None:
    """Make the folder ready for a confirmation that is new, or has grown beyond trials that ended.

    Ray begins anew, with the others alone.
    """
    place.mkdir(exist_ok=True)
    shutil.rmtree(place / "state", ignore_errors=True)
    choices = {"set": {}, "seeds": list(ablation.seeds)}
    write_atomically(place / EARLIER, json.dumps(ended))
    write_atomically(place / "overrides.json", json.dumps(choices))
    write_atomically(place / "ablation.yaml", ablation.text)


def _told(place: Path) -> list[dict[str, Any]]:
    """The trials of the confirmation as they were left."""
    path = place / "ablation.json"
    return list(json.loads(path.read_text())["trials"]) if path.is_file() else []


def _order(told: Sequence[Mapping[str, Any]], ablation: AblationSpec) -> list[Cell]:
    """The cells, those of an earlier, smaller confirmation under the numbers that they had."""
    found = cells(ablation)
    before = [(one["arm"], one["seed"]) for one in told]
    by_key = {(cell.arm, cell.seed): cell for cell in found}
    return [by_key[key] for key in dict.fromkeys([*before, *by_key])]


def _data_path(summary: Mapping[str, Any]) -> str | None:
    best = summary["best"]
    return best["config"]["data"]["path"] if best else None


def _promote(
    spec: SearchSpec,
    winner: Mapping[str, Any],
    ablation: AblationSpec,
    account: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Make best/ the best training of the winning arm; returns summary.json's `best`."""
    sign = 1 if spec.metric.goal == "minimize" else -1
    own = [
        one
        for one in account["trials"]
        if one["arm"] == winner["name"] and one["state"] == "finished"
    ]
    chosen = min(own, key=lambda one: (sign * one["value"], one["trial_id"]))
    trial = folder / FOLDER / "trials" / chosen["trial_id"]
    last = read_rows(trial)[-1]
    cell = next(c for c in cells(ablation) if (c.arm, c.seed) == (chosen["arm"], chosen["seed"]))
    config = rooted(cell_config(ablation, cell))
    source = f"{FOLDER}/trials/{chosen['trial_id']}"
    _set_aside(folder)
    keep_best({**last, "config": config.model_dump(), "source": source}, folder)
    return {
        "trial_id": winner["trial_id"],
        "value": chosen["value"],
        "error": value_of(last, fakes_error_name(spec.metric.name)),
        "config": config.model_dump(),
        "checkpoint": "best/checkpoint",
        "state": "finished",
        "source": source,
    }


def _set_aside(folder: Path) -> None:
    """Keep the search's own best/, if it is not kept already."""
    aside = folder / FOLDER / ASIDE
    if aside.exists():
        return
    linked_copy(folder / "best", aside)


def _bring_back(folder: Path) -> None:
    """Make best/ the search's own again."""
    if (aside := folder / FOLDER / ASIDE).exists():
        put_in_place(aside, folder / "best")


def _none(why: str) -> dict[str, Any]:
    """What summary.json says under `confirmation` where nothing was trained anew."""
    return {
        "seeds": [],
        "arms": [],
        "searched": None,
        "winner": None,
        "unfinished": 0,
        "why": why,
        "sentence": f"Not confirmed: {why}.",
    }


def _publish(folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
    write_atomically(folder / "summary.json", json.dumps(summary, indent=1))
    return summary
