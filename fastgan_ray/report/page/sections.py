"""Prepare the verdict, warnings, pictures and texts of report.html as plain data.

The argument `run` is the result of `read_run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastgan_ray.counting import counted
from fastgan_ray.metrics.names import NO_METRIC, best_name, format_with_error, value_of
from fastgan_ray.metrics.protocol import LABELS
from fastgan_ray.report.charts.intervals import intervals_chart
from fastgan_ray.report.charts.learning_curves import arm_curves_chart
from fastgan_ray.report.data.ablation import FAILED
from fastgan_ray.report.data.learning_curves import arm_curves, curve_metric
from fastgan_ray.report.data.ranking import (
    COLOURS,
    arm_colours,
    best_trial,
    ranked,
    trial_colours,
    trial_label,
)
from fastgan_ray.report.data.run_folder import Run, Trial, latest_picture, shared_note
from fastgan_ray.report.data.votes import read_results
from fastgan_ray.report.page.pictures import embedded
from fastgan_ray.report.tables import ablation as ablation_tables
from fastgan_ray.report.tables import confirmation as confirmation_tables
from fastgan_ray.report.tables import votes as vote_tables
from fastgan_ray.report.text import best_moment, search_verdict, state_text

STATES = ("finished", "stopped", "unfinished", *FAILED)
PAIRS_SIDE = 1000  # pixels


def headline(run: Run) -> dict[str, Any]:
    """Return {"verdict", "warnings"}: the verdict and the warnings at the top of the page."""
    account = run["account"]
    remarks = [
        f"{data['path']}: {remark}" for data in run["pictures"] for remark in data["remarks"]
    ]
    if run["kind"] == "training":
        (trial,) = run["trials"]
        notes = [text for text in (trial["warning"], shared_note(run)) if text]
        return {"verdict": _training_verdict(run, trial), "warnings": [*notes, *remarks]}
    if account is None:
        return {"verdict": "No trial has ended yet.", "warnings": []}
    if run["kind"] == "ablation":
        warnings = ablation_tables.notes(account)
        return {"verdict": _ablation_verdict(account), "warnings": [*warnings, *remarks]}
    moment = best_moment(account["best"] or {}, account["metric"]["name"])
    verdict = f"{search_verdict(account)} {moment}".rstrip()
    shared = [note] if (note := shared_note(run)) else []
    return {"verdict": verdict, "warnings": [*_search_warnings(run), *shared, *remarks]}


def _training_verdict(run: Run, trial: Trial) -> str:
    """Return sentences about a training's best checkpoint (if it is known) and last checkpoint."""
    name, last = run["metric"]["name"], trial["rows"][-1] if trial["rows"] else {}
    value = value_of(last, name)
    if name == NO_METRIC:
        return f"{trial['kimg']:g} kimg, without measurements (eval.extractor is none)."
    if value is None:
        return f"{name} has not been measured yet."
    ending = f"{name} {value:.4g} at {trial['kimg']:g} kimg"
    if (kimg := last.get(best_name("kimg"))) is None:
        return f"{ending}." if trial["state"] == "finished" else f"{ending} so far."
    measured = format_with_error(trial["value"], trial["error"])
    return (
        f"Best checkpoint: {name} {measured} at {kimg:g} kimg, measured on new latents "
        f"({last[best_name('selected')]:.4g} on the latents that were used to choose it). "
        f"Last checkpoint: {ending}."
    )


def _ablation_verdict(account: Mapping[str, Any]) -> str:
    """Return a sentence that lists the arms by verdict."""
    arms_by_verdict: dict[str, list[str]] = {}
    for arm in account["arms"]:
        if arm["comparison"]:
            arms_by_verdict.setdefault(arm["comparison"]["verdict"], []).append(arm["name"])
    parts = [f"{verdict}: {', '.join(names)}" for verdict, names in arms_by_verdict.items()]
    if not parts:
        return "No arm has been compared yet."
    return f"Compared with {account['baseline']}: {'; '.join(parts)}."


def _search_warnings(run: Run) -> list[str]:
    """Return sentences about problems of a search's trials.

    If the best trial has a warning, it is the first sentence. The other sentences say how many
    trials have a warning, how many failed, and how many have not ended.
    """
    best, trials = best_trial(run), run["trials"]
    sentences = []
    if best and best["warning"]:
        sentences.append(f"Best trial, {trial_label(best)}: {best['warning']}")
    if count := sum(bool(trial["warning"]) for trial in trials if trial is not best):
        trials_have_warnings = "trial has a warning" if count == 1 else "trials have warnings"
        where = "(see the last column of the leaderboard)"
        if sentences:
            sentences.append(f"{count} other {trials_have_warnings} {where}.")
        else:
            sentences.append(
                f"{count} {trials_have_warnings}; the best trial has no warning {where}."
            )
    for state in FAILED:
        if count := sum(trial["state"] == state for trial in trials):
            sentences.append(f"{count} of {counted(len(trials), 'trial')}: {state_text(state)}.")
    if count := sum(trial["state"] == "unfinished" for trial in trials):
        has = "has" if count == 1 else "have"
        total = counted(len(trials), "trial")
        sentences.append(f"{count} of {total} {has} not ended: running or interrupted.")
    return sentences


def _checkpoint_note(trial: Trial) -> str:
    kimg = trial["value_kimg"]
    return "" if kimg == trial["kimg"] else f" (the value and the grid are those at {kimg:g} kimg)"


def galleries(run: Run) -> dict[str, Any]:
    """Return {"grids", "same"}: grids of samples, and whether all grids show the same latents.

    The grids are of the best trials, or of one trial for each arm of an ablation. "same" is True if
    the latents of all generators have the same size. Then the grids use the same random numbers.
    """
    most = COLOURS if run["kind"] == "search" else 2 * COLOURS
    colours = trial_colours(run)
    grids: list[dict[str, Any]] = []
    latent_sizes = set()
    of_arms = (run["account"] or {}).get("arms", ())
    arms = {arm["name"]: arm["settings"] for arm in of_arms}
    for trial in ranked(run) if run["kind"] != "ablation" else _first_of_each_arm(run):
        if len(grids) == most:
            break
        picture = embedded(latest_picture(trial, "grid", trial["value_kimg"]))
        if picture is None:
            continue
        value = format_with_error(trial["value"], trial["error"])
        grids.append(
            {
                **picture,
                "id": trial["trial_id"],
                "colour": colours[trial["trial_id"]],
                "label": _grid_label(trial),
                "about": f"{value}, {state_text(trial['state'])} at {trial['kimg']:g} kimg"
                + _checkpoint_note(trial),
            }
        )
        settings = arms.get(trial["point"].get("arm"), {}) | trial["point"]
        latent_sizes.add(settings.get("model.nz"))
    return {"grids": grids, "same": len(latent_sizes) <= 1}


def _grid_label(trial: Trial) -> str:
    if "arm" in trial["point"]:
        return f"{trial['point']['arm']} (seed {trial['point']['seed']})"
    return f"trial {trial_label(trial)}" if trial["point"] else str(trial["trial_id"])


def _first_of_each_arm(run: Run) -> list[Trial]:
    """Return, for each arm, its first trial that has a picture."""
    trials: dict[str, Trial] = {}
    for trial in run["trials"]:
        if latest_picture(trial, "grid"):
            trials.setdefault(trial["point"].get("arm", trial["trial_id"]), trial)
    return list(trials.values())


def nearest(run: Run) -> dict[str, Any] | None:
    """Return a picture: the best trial's samples that are most similar to training pictures.

    The result is {"uri", "width", "height", "id", "memorised"}. Return None if the run has no such
    picture.
    """
    trial = best_trial(run)
    picture = embedded(latest_picture(trial, "pairs"), PAIRS_SIDE) if trial else None
    if trial is None or picture is None:
        return None
    shares = [row["memorised"] for row in trial["rows"] if "memorised" in row]
    share = f"{shares[-1]:.1%}" if shares else None
    return {**picture, "id": trial_label(trial), "memorised": share}


def expected(run: Run) -> dict[str, Any]:
    """Return {"note"}: what the expected values of a search mean, or why there are none."""
    ranking = (run["account"] or {}).get("ranking")
    if not ranking:
        return {"note": ""}
    if ranking["note"]:
        return {"note": f"There are no expected values: {ranking['note']}."}
    return {
        "note": 'The column "expected" is the value that a new training of the configuration is '
        f"expected to reach, with its {100 * ranking['confidence']:.0f} % interval. The column "
        '"chance of best" is the probability that no other tried configuration has a better '
        "expected value. A Gaussian process of all learning curves predicts both; it separates the "
        "effect of a configuration from the luck of its trainings. A confirmation trains the "
        "finished trials with the best expected values again. The rank and the folder best/ follow "
        "the measured values, because the luck of a training is a part of its generator. "
        + ranking.get("early_values", "")  # summaries of earlier versions lack it
    }


def importance(run: Run, values: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return {"note", "bars"}: a bar for the importance of each parameter.

    A bar is {"name", "share" (as text, in %), "width" (in % of the longest bar)}. If the search has
    expected values, the importances are those of the Gaussian process, with intervals. Otherwise,
    they are `values`, the argument `importance` of `page.html.page`.
    """
    ranking = (run["account"] or {}).get("ranking") or {}
    if ranking.get("importances"):
        return _of_process(ranking)
    if values is None:
        return {"note": "There is no Optuna study to compute importances from.", "bars": []}
    longest = max(values["values"].values(), default=0.0) or 1.0
    bars = [
        {"name": name, "share": f"{100 * value:.0f} %", "width": f"{100 * value / longest:.1f}"}
        for name, value in values["values"].items()
    ]
    return {"note": values["note"], "bars": bars}


def _of_process(ranking: Mapping[str, Any]) -> dict[str, Any]:
    shares = ranking["importances"]
    longest = max(share for share, _, _ in shares.values()) or 1.0
    bars = [
        {
            "name": name,
            "share": f"{100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]",
            "width": f"{100 * share / longest:.1f}",
        }
        for name, (share, low, high) in shares.items()
    ]
    note = (
        "The share of each parameter in the variance of the metric that single parameters cause, "
        f"with its {100 * ranking['confidence']:.0f} % interval. A Gaussian process of all "
        "learning curves estimates it, also from trials that were stopped early. Wide intervals "
        "mean that more trials are needed."
    )
    return {"note": note, "bars": bars}


def cost(run: Run) -> list[tuple[str, str]]:
    """Return (name, text) pairs: number of trials, images shown, hours, speed and memory."""
    trials = run["trials"]
    counts = {state: sum(trial["state"] == state for trial in trials) for state in STATES}
    states = ", ".join(f"{count} {state_text(state)}" for state, count in counts.items() if count)
    kimg = sum(trial["kimg"] for trial in trials)
    seconds = sum(trial["seconds"] for trial in trials)
    memory = [row["peak_memory_gb"] for t in trials for row in t["rows"] if "peak_memory_gb" in row]
    pairs = [("trials", f"{len(trials)}: {states}" if trials else "none")]
    pairs.append(("images shown", f"{kimg:.4g} thousand"))
    pairs.append(("hours of training", f"{seconds / 3600:.3g}, all trials together"))
    if seconds > 0:
        pairs.append(("images/s", f"{1000 * kimg / seconds:.4g}, mean speed of a trial"))
    if memory:
        pairs.append(("peak memory", f"{max(memory):.3g} GB for one trial"))
    return pairs


def protocols(run: Run) -> list[dict[str, Any]]:
    """Return the protocol of the run's metric on each data set, i.e. how it was measured.

    Each entry is {"data", "rows"}; "rows" is a list of (name, text) pairs.
    """
    return [
        {
            "data": data,
            "rows": [(LABELS.get(key, key), str(value)) for key, value in fields.items()],
        }
        for data, fields in run["protocols"].items()
    ]


def confirmation(run: Run) -> dict[str, Any] | None:
    """Return {"sentence", "table", "explanation"} of a search's confirmation.

    "table" is None if no training of the confirmation has ended. Return None if the search has no
    confirmation.
    """
    account = (run["account"] or {}).get("confirmation")
    if not account:
        return None
    if not account["arms"]:
        return {"sentence": account["sentence"], "table": None, "explanation": ""}
    return {
        "sentence": account["sentence"],
        "table": confirmation_tables.confirmation_table(account),
        "explanation": confirmation_tables.explanation(account),
    }


def votes(run: Run) -> list[dict[str, Any]]:
    """Return {"table", "sentences", "explanation"} for each page of a blind vote that has votes."""
    results = read_results(Path(run["folder"]))
    return [
        {
            "table": vote_tables.votes_table(result),
            "sentences": vote_tables.sentences(result),
            "explanation": vote_tables.EXPLANATION,
        }
        for result in results
    ]


def ablation(run: Run) -> dict[str, Any] | None:
    """Return the tables, intervals and learning curves of an ablation.

    Return None for other runs, and if no trial has ended.
    """
    account = run["account"]
    if run["kind"] != "ablation" or account is None:
        return None
    colours = arm_colours(account)
    trials = [trial | trial["point"] for trial in run["trials"] if "arm" in trial["point"]]
    metric = curve_metric(trials, account["metric"]["name"])
    curves = arm_curves(trials, metric)
    panels = []
    for data in account["data"]:
        of_data = {arm: points for (arm, name), points in curves.items() if name == data}
        if chart := arm_curves_chart(of_data, colours, metric):
            panels.append({"data": data, "chart": chart})
    return {
        "verdicts": ablation_tables.main_table(account),
        "sets": ablation_tables.sets_table(account)
        if ablation_tables.has_several_sets(account)
        else None,
        "explanation": ablation_tables.explanation(account),
        "in_percent": account.get("differences") == "percent",
        "settings": ablation_tables.settings_table(account),
        "other_metrics": ablation_tables.other_metrics_table(account),
        "colours": [(arm["name"], colours[arm["name"]]) for arm in account["arms"]],
        "panels": panels,
        "intervals": intervals_chart(account, colours),
    }
