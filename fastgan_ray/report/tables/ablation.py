"""Build the tables and sentences that report an ablation's results."""

from __future__ import annotations

from typing import Any

import rich.table

from fastgan_ray.config.feature_networks import MARK, shared_data_note
from fastgan_ray.counting import counted
from fastgan_ray.report import text
from fastgan_ray.report.tables import table as tables
from fastgan_ray.report.tables.table import VERDICT_STYLES, Table, as_markdown, escaped

EXPLANATION = (
    "± is the standard deviation over seeds. The difference is the mean of arm minus "
    "baseline over pairs of trainings with the same data set and seed. The brackets are its "
    "{confidence:.0%} confidence interval (Student's t). An arm is better or worse if "
    "its p-value, corrected for the number of arms (Holm), is below {level:.2g}; an "
    "interval that does not contain 0 is not enough. Failed trainings are left out of means. If a "
    "training of an arm failed and the baseline's training with the same data set and seed did "
    "not, the arm is never called better."
)
COMPARED = {
    "last": "The arms are compared by the last checkpoint of each training, not by the best one.",
    "best": "The arms are compared by the best checkpoint of each training, not by the last one.",
}
NEW_LATENTS = (
    "A best checkpoint is chosen by its value, so this value is usually too good. Therefore, best "
    "checkpoints are measured again on new latents."
)
SEQUENTIAL = (
    "The seeds are trained one after another, and the arms are compared after each seed. An arm "
    "gets no further seeds when its verdict is clear, or when it is dropped because the verdict "
    '"better" has become unlikely. (Seeds that the user named are all trained before a single '
    "comparison.) The change is that of the mean, in percent of the baseline's; if all values are "
    "positive, it is that of the geometric mean. The brackets are its {confidence:.0%} confidence "
    "interval. An arm is better or worse if its p-value is below {level:.2g}, after a correction "
    "for the number of arms and of comparisons. The interval is not corrected, so an interval that "
    "does not contain 0 is not enough. The test is Student's t-test for two independent samples; "
    "for Frechet and kernel distances, its variance has a prior from recorded trainings. An arm is "
    "never called better if, with some seed, the arm failed and the baseline did not."
)
SEVERAL_SETS = (
    "± is the standard deviation over seeds. Changes are in percent of the baseline. "
    "The change on a data set is the mean over the seeds. Its verdict applies only to this data "
    "set. The change over sets is the mean over the data sets. Its verdict also applies to other, "
    "similar data sets. The brackets are its {confidence:.0%} confidence interval "
    "(Student's t over the data sets). An arm is better or worse if its p-value, "
    "corrected for the number of arms (Holm), is below {level:.2g}. Failed trainings "
    "are left out of means. If a training of an arm failed and the baseline's training with the "
    "same data set and seed did not, the arm is never called better."
)


def markdown(summary: dict[str, Any], figure: str) -> str:
    """Return the text of ablation.md.

    `summary` is the content of ablation.json. `figure` is the relative path of the figure with the
    learning curves.
    """
    metric = summary["metric"]
    goal = "lower" if metric["goal"] == "minimize" else "higher"
    parts = [
        f"# Ablation {escaped(summary['name'])}",
        f"`{metric['name']}` ({goal} is better) on {escaped(', '.join(summary['data']))}; "
        f"{counted(len(summary['seeds']), 'seed')}; baseline: {escaped(summary['baseline'])}.",
        as_markdown(main_table(summary)),
        as_markdown(sets_table(summary)) if has_several_sets(summary) else "",
        explanation(summary),
        "\n".join(f"- {escaped(sentence)}" for sentence in notes(summary)),
        f"![Learning curves: {metric['name']} of each arm over images shown]({figure})",
        "Settings of the arms:",
        as_markdown(settings_table(summary)),
    ]
    if any(arm["other_metrics"] for arm in summary["arms"]):
        parts.append("Other metrics at the end of training (without verdicts):")
        parts.append(as_markdown(other_metrics_table(summary)))
    return "\n\n".join(part for part in parts if part) + "\n"


def on_terminal(summary: dict[str, Any]) -> rich.table.Table:
    """Return the main table for a terminal; the colour of a row depends on the arm's verdict."""
    comparisons = [arm["comparison"] for arm in summary["arms"]]
    styles = [VERDICT_STYLES.get(c["verdict"], "") if c else "bold" for c in comparisons]
    return tables.on_terminal(main_table(summary), styles)


def main_table(summary: dict[str, Any]) -> Table:
    """Return a table with a row for each arm: values, difference, verdict and cost."""
    data, metric, over_sets = summary["data"], summary["metric"]["name"], has_several_sets(summary)
    names = [metric] if len(data) == 1 else data
    other = other_moment(summary)
    headings = [
        "arm",
        *names,
        *([f"{name}, {other} checkpoint" for name in names] if other else []),
        "change over sets" if over_sets else "change" if is_sequential(summary) else "difference",
        "p (corrected)" if is_sequential(summary) else "p (Holm)",
        "verdict over sets" if over_sets else "verdict",
        "parameters",
        "GFLOP/image",
        "images/s",
        "h/10k steps",
        "peak GB",
    ]
    seeds, unit = len(summary["seeds"]), " %" if in_percent(summary) else ""
    rows = [_main_row(arm, seeds, unit, bool(other)) for arm in summary["arms"]]
    return Table(headings, rows)


def other_moment(summary: dict[str, Any]) -> str:
    """Return the second kind of checkpoints in the main table: "best" or "last".

    The first kind is `summary["compare"]`, by which the arms are compared. Return "" if no arm has
    a metric value for the second kind.
    """
    known = any(part["seeds"] for arm in summary["arms"] for part in arm["other_moment"])
    return {"last": "best", "best": "last"}[summary["compare"]] if known else ""


def sets_table(summary: dict[str, Any]) -> Table:
    """Return a table with the change and the verdict of each arm on each data set.

    The baseline has no row.
    """
    rows = []
    for arm in summary["arms"]:
        if arm["comparison"] is None:
            continue
        row = [arm["name"]]
        for part in arm["by_data"]:
            comparison = part["comparison"]  # None if nothing has ended on this data set
            row += (
                [_difference(comparison, " %"), comparison["verdict"]] if comparison else ["-", "-"]
            )
        rows.append(row)
    headings = [heading for name in summary["data"] for heading in (f"change on {name}", "verdict")]
    return Table(["arm", *headings], rows)


def settings_table(summary: dict[str, Any]) -> Table:
    """Return a table with a row for each arm: its settings that differ from the ablation's base."""
    rows = [[arm["name"], text.settings_text(arm["settings"])] for arm in summary["arms"]]
    return Table(["arm", "settings"], rows)


def other_metrics_table(summary: dict[str, Any]) -> Table:
    """Return a table of all measured metrics except the ablation's metric, with a row for each arm.

    A cell is the mean and standard deviation over the arm's trainings.
    """
    names = list(dict.fromkeys(name for arm in summary["arms"] for name in arm["other_metrics"]))
    rows = []
    for arm in summary["arms"]:
        metrics = [arm["other_metrics"].get(name, {"mean": None, "sd": None}) for name in names]
        rows.append([arm["name"], *(text.mean_sd(m["mean"], m["sd"]) for m in metrics)])
    return Table(["arm", *names], rows)


def notes(summary: dict[str, Any]) -> list[str]:
    """Return sentences about warnings, doubtful verdicts, failures and unfinished trainings."""
    trials = summary["trials"]
    sentences = [f"Warning: {warning}." for warning in summary["warnings"]]
    shared = dict.fromkeys(arm.get("shared_data", "") for arm in summary["arms"])
    sentences += [shared_data_note(data) for data in shared if data]
    for arm in summary["arms"]:
        comparison = arm["comparison"]
        if comparison and comparison["note"]:
            sentences.append(f"{arm['name']}: {comparison['verdict']}: {comparison['note']}.")
    sentences += [
        f"{trial['arm']}, seed {trial['seed']} on {trial['data']}: "
        f"{text.state_text(trial['state'])} at {trial['kimg']:g} kimg: {trial['reason']}."
        for trial in trials
        if trial["state"] not in ("finished", "unfinished")
    ]
    for arm in summary["arms"]:
        of_arm = [trial for trial in trials if trial["arm"] == arm["name"]]
        if warnings := [trial["warning"] for trial in of_arm if trial["warning"]]:
            has = "has" if len(warnings) == 1 else "have"
            trainings = f"{len(warnings)} of {counted(len(of_arm), 'training')}"
            sentences.append(
                f"{arm['name']}: {trainings} {has} a warning. The first warning: {warnings[0]}"
            )
    if unfinished := sum(trial["state"] == "unfinished" for trial in trials):
        has = "has" if unfinished == 1 else "have"
        sentences.append(f"{unfinished} of {counted(len(trials), 'training')} {has} not ended.")
    return sentences


def explanation(summary: dict[str, Any]) -> str:
    """Return sentences that explain the main table and, if it exists, the table of data sets."""
    text_of = SEVERAL_SETS if has_several_sets(summary) else EXPLANATION
    if is_sequential(summary):
        text_of = f"± is the standard deviation over seeds. {SEQUENTIAL}"
    parts = [text_of.format(confidence=summary["confidence"], level=1 - summary["confidence"])]
    if other_moment(summary):
        parts += [COMPARED[summary["compare"]], NEW_LATENTS]
    return " ".join(parts)


def in_percent(summary: dict[str, Any]) -> bool:
    """Return whether differences are in percent of the baseline."""
    return bool(summary.get("differences") == "percent")


def has_several_sets(summary: dict[str, Any]) -> bool:
    """Return whether the verdicts are over several data sets."""
    return len(summary["data"]) > 1


def is_sequential(summary: dict[str, Any]) -> bool:
    """Return whether the ablation is a confirmation, which compares its arms by `sequential`."""
    return "looks" in summary


def _main_row(arm: dict[str, Any], seeds: int, unit: str, has_other: bool) -> list[str]:
    comparison = arm["comparison"]
    verdict = ["", "", "(baseline)"]
    if comparison:
        verdict = [
            _difference(comparison, unit),
            text.p_value(comparison["p_holm"] if "p_holm" in comparison else comparison["p"]),
            comparison["verdict"],
        ]
    parts = [*arm["by_data"], *(arm["other_moment"] if has_other else [])]
    parameters = "-"
    if arm["params_g"] is not None:
        counts = (text.parameter_count(arm[network]) for network in ("params_g", "params_d"))
        parameters = " + ".join(counts)
    mark = f" {MARK}" if arm.get("shared_data") else ""
    return [
        arm["name"],
        *(mean_over_seeds(part, part["seeds"], seeds) + mark for part in parts),
        *verdict,
        parameters,
        text.number(arm["gflop_per_image"]),
        text.number(arm["images_per_second"]),
        text.number(arm.get("hours_per_10k_steps")),  # summaries of earlier versions lack it
        text.number(arm["peak_memory_gb"]),
    ]


def mean_over_seeds(part: dict[str, Any], count: int, seeds: int) -> str:
    """Return "mean ± standard deviation" as text; if seeds are missing, add e.g. "(2 of 3)".

    `part` has the "mean" and the "sd". `count` is the number of seeds with a value, and `seeds` the
    number of all seeds.
    """
    missing = "" if count == seeds else f" ({count} of {seeds})"
    return text.mean_sd(part["mean"], part["sd"]) + missing


def _difference(comparison: dict[str, Any], unit: str) -> str:
    mean, low, high = (comparison[key] for key in ("mean", "low", "high"))
    return text.difference(mean, low, high, unit)
