"""What a report's sections say, as plain data: each function takes a run as `read_run` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastgan_ray.metrics.protocol import LABELS
from fastgan_ray.report import text
from fastgan_ray.report.charts import charts, curves
from fastgan_ray.report.data.ranking import (
    COLOURS,
    arm_colours,
    best,
    colours,
    measured,
    parameters,
    ranked,
    rounded,
)
from fastgan_ray.report.data.run_folder import Run, Trial
from fastgan_ray.report.page.pictures import embedded, latest
from fastgan_ray.report.tables import ablation as tables
from fastgan_ray.report.tables import confirmation as confirmed

STATES = ("finished", "stopped", "unfinished", "diverged", "out_of_memory", "failed")
PAIRS_SIDE = 1000


def headline(run: Run) -> dict[str, Any]:
    """{"verdict", "warnings"}: what a reader must know first."""
    account = run["account"]
    if account is None:
        return {"verdict": "No trial has ended yet.", "warnings": []}
    if run["kind"] == "ablation":
        return {"verdict": ablation_verdict(account), "warnings": tables.notes(account)}
    return {"verdict": account["verdict"], "warnings": _search_warnings(run)}


def ablation_verdict(account: Mapping[str, Any]) -> str:
    """Which arms are better than the baseline, which are worse, and of which it is not known."""
    compared = [arm for arm in account["arms"] if arm["comparison"]]
    groups: dict[str, list[str]] = {}
    for arm in compared:
        groups.setdefault(arm["comparison"]["verdict"], []).append(arm["name"])
    said = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in groups.items())
    return f"Against {account['baseline']}: {said}." if said else "No arm has been compared yet."


def _search_warnings(run: Run) -> list[str]:
    """The best trial's warning, how many others warn, and how many have not ended."""
    first, trials = best(run), run["trials"]
    found = []
    if first and first["warning"]:
        found.append(f"The best trial, {first['trial_id']}: {first['warning']}")
    others = [trial for trial in trials if trial["warning"] and trial is not first]
    if others:
        other, too = ("other ", " too") if found else ("", ", the best not")
        subject = f"{other}trial warns" if len(others) == 1 else f"{other}trials warn"
        found.append(f"{len(others)} {subject}{too}: see the last column of the leaderboard.")
    for state in ("diverged", "out_of_memory", "failed"):
        if count := sum(trial["state"] == state for trial in trials):
            found.append(f"{count} of {len(trials)} trials: {state.replace('_', ' ')}.")
    if count := sum(trial["state"] == "unfinished" for trial in trials):
        found.append(f"{count} of {len(trials)} trials have not ended: running, or interrupted.")
    return found


def leaderboard(run: Run) -> dict[str, Any]:
    """{"columns": [{"name", "number", "long"}], "rows": [{"id", "colour", "state", "cells"}]}.

    A cell is {"text", "sort"}: what is read, and a number or a lower-case text to sort by.
    """
    colour, names = colours(run), parameters(run)
    numeric = ("rank", run["metric"]["name"], "kimg", "parameters", "images/s", "memorised")
    heads = ["rank", "trial", run["metric"]["name"], "state", "kimg", "parameters", "images/s"]
    heads += ["memorised", *names, "reason", "warning"]
    rows = [
        {
            "id": trial["trial_id"],
            "colour": colour[trial["trial_id"]],
            "state": trial["state"],
            "cells": _cells(number, trial, names),
        }
        for number, trial in enumerate(ranked(run), 1)
    ]
    columns = [
        {"name": head, "number": head in numeric, "long": head in ("reason", "warning")}
        for head in heads
    ]
    return {"columns": columns, "rows": rows}


def _cells(number: int, trial: Trial, names: Sequence[str]) -> list[dict[str, Any]]:
    last = {key: value for row in trial["rows"] for key, value in row.items()}
    size, speed, copied = (last.get(k) for k in ("params_g", "images_per_second", "memorised"))
    state = trial["state"].replace("_", " ")
    value = "" if trial["value"] is None else measured(trial)
    return [
        {"text": str(number), "sort": number},
        {"text": trial["trial_id"], "sort": trial["trial_id"]},
        {"text": value, "sort": trial["value"]},
        {"text": state, "sort": state},
        _number(trial["kimg"], "{:g}"),
        {"text": "" if size is None else text.count(size), "sort": size},
        _number(speed, "{:.1f}"),
        _number(copied, "{:.1%}"),
        *(_setting(trial["point"], name) for name in names),
        *({"text": trial[key], "sort": trial[key].lower()} for key in ("reason", "warning")),
    ]


def _number(value: float | None, form: str) -> dict[str, Any]:
    return {"text": "" if value is None else form.format(value), "sort": value}


def _setting(point: Mapping[str, Any], name: str) -> dict[str, Any]:
    if name not in point:
        return {"text": "", "sort": None}
    value = point[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    written = text.value_text(rounded(value))
    return {"text": written, "sort": value if is_number else written.lower()}


def galleries(run: Run) -> dict[str, Any]:
    """{"grids": the sample grids of the first trials, or of a trial of each arm, "same"}.

    `same`: all their latents are the same, which takes models of one latent size.
    """
    chosen = _of_each_arm(run) if run["kind"] == "ablation" else ranked(run)
    grids: list[dict[str, Any]] = []
    sizes = set()
    for trial in chosen:
        path = latest(trial, "grid")
        picture = embedded(path) if path else None
        if picture and len(grids) < 2 * COLOURS:
            label = f"trial {trial['trial_id']}"
            if "arm" in trial["point"]:
                label = f"{trial['point']['arm']} (seed {trial['point']['seed']})"
            grids.append(
                {
                    **picture,
                    "id": trial["trial_id"],
                    "colour": colours(run)[trial["trial_id"]],
                    "label": label,
                    "about": f"{measured(trial)}, {trial['state']} at {trial['kimg']:g} kimg",
                }
            )
            sizes.add(trial["point"].get("model.nz"))
        if run["kind"] == "search" and len(grids) == COLOURS:
            break
    return {"grids": grids, "same": len(sizes) <= 1}


def _of_each_arm(run: Run) -> list[Trial]:
    """An arm's first trial that has a picture, on the first data set and lowest seed it has."""
    found: dict[str, Trial] = {}
    for trial in run["trials"]:
        if latest(trial, "grid"):
            found.setdefault(trial["point"].get("arm", trial["trial_id"]), trial)
    return list(found.values())


def nearest(run: Run) -> dict[str, Any] | None:
    """The generated pictures of the best trial that are most like a training picture."""
    trial = best(run)
    path = latest(trial, "pairs") if trial else None
    picture = embedded(path, PAIRS_SIDE) if path else None
    if trial is None or picture is None:
        return None
    rows = [row for row in trial["rows"] if "memorised" in row]
    return {
        **picture,
        "id": trial["trial_id"],
        "memorised": f"{rows[-1]['memorised']:.1%}" if rows else None,
    }


def spent(run: Run) -> list[tuple[str, str]]:
    """Trials, images, hours, speed and memory, as pairs of a name and a text."""
    trials = run["trials"]
    counts = {state: sum(trial["state"] == state for trial in trials) for state in STATES}
    states = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in counts.items() if n)
    kimg = sum(trial["kimg"] for trial in trials)
    seconds = sum(trial["seconds"] for trial in trials)
    memory = [row["peak_memory_gb"] for t in trials for row in t["rows"] if "peak_memory_gb" in row]
    rows = [("trials", f"{len(trials)}: {states}" if trials else "none")]
    rows.append(("images shown", f"{kimg:.4g} thousand"))
    rows.append(("hours of training", f"{seconds / 3600:.3g}, over all trials"))
    if seconds > 0:
        rows.append(("images a second", f"{1000 * kimg / seconds:.4g}, of one trial on average"))
    if memory:
        rows.append(("peak memory", f"{max(memory):.3g} GB, of one trial"))
    return rows


def protocols(run: Run) -> list[dict[str, Any]]:
    """What the metric was measured against: {"data", "rows": pairs of a name and a text}."""
    return [
        {"data": data, "rows": [(LABELS.get(key, key), str(value)) for key, value in found.items()]}
        for data, found in run["protocols"].items()
    ]


def confirmation(run: Run) -> dict[str, Any] | None:
    """{"sentence", "table", "reading"} of a search's confirmation; None without one."""
    found = (run["account"] or {}).get("confirmation")
    if not found:
        return None
    if not found["arms"]:
        return {"sentence": found["sentence"], "table": None, "reading": ""}
    return {
        "sentence": found["sentence"],
        "table": confirmed.table(found),
        "reading": confirmed.reading(found),
    }


def ablation(run: Run) -> dict[str, Any] | None:
    """The tables, intervals and curves of an ablation; None of a search."""
    account = run["account"]
    if run["kind"] != "ablation" or account is None:
        return None
    colour = arm_colours(account)
    trials = [trial | trial["point"] for trial in run["trials"] if "arm" in trial["point"]]
    name = curves.curve_name(trials, account["metric"]["name"])
    points = curves.curves(trials, name)
    panels = [
        {
            "data": data,
            "chart": charts.bands([p for p in points if p["data"] == data], colour, name),
        }
        for data in account["data"]
    ]
    return {
        "tables": [
            {"title": "Verdicts", "table": tables.main_table(account)},
            {"title": "Settings of the arms", "table": tables.settings_table(account)},
            {
                "title": "Also measured, at the end (no verdicts)",
                "table": tables.also_table(account),
            },
        ],
        "reading": tables.reading(account),
        "colours": [(arm["name"], colour[arm["name"]]) for arm in account["arms"]],
        "panels": [panel for panel in panels if panel["chart"]],
        "intervals": charts.intervals(account, colour),
    }
