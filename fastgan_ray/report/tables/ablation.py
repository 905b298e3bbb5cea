"""An ablation's account as a table: Markdown for a file, rich for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import rich.table
from rich.text import Text

from fastgan_ray.report.text import count, difference, mean_sd, number, p_value, settings_text

STYLES = {"better": "green", "worse": "red", "no verdict": "yellow"}
READING = (
    "± is the standard deviation over seeds. The difference is the mean, over pairs of one data "
    "set and one seed, of the arm less the baseline, with its {confidence:.0%} interval (Student's "
    "t). A verdict needs Holm's p-value, corrected for all arms, below {level:.2g}: that an "
    "interval leaves out 0 is not enough. A training that failed is in no number, but an arm that "
    "failed where the baseline did not is never called better."
)


def markdown(summary: dict[str, Any], figure: str) -> str:
    """The whole account for a reader, with the picture at the relative path `figure`."""
    goal = "lower" if summary["metric"]["goal"] == "minimize" else "higher"
    parts = [
        f"# Ablation {summary['name']}",
        f"`{summary['metric']['name']}` ({goal} is better) on {', '.join(summary['data'])}; "
        f"{len(summary['seeds'])} seeds; baseline: {summary['baseline']}.",
        _as_markdown(*main_table(summary)),
        reading(summary),
        "\n".join(f"- {sentence}" for sentence in notes(summary)),
        f"![{summary['metric']['name']} over thousands of images, for each arm]({figure})",
        "What the arms are:",
        _as_markdown(*settings_table(summary)),
    ]
    if any(arm["also"] for arm in summary["arms"]):
        parts += ["Also measured, at the end (no verdicts):", _as_markdown(*also_table(summary))]
    return "\n\n".join(part for part in parts if part) + "\n"


def on_terminal(summary: dict[str, Any]) -> rich.table.Table:
    """The main table, coloured by verdict."""
    headings, rows = main_table(summary)
    table = rich.table.Table(box=None, pad_edge=False, header_style="bold")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index == 0 else "right")
    for arm, row in zip(summary["arms"], rows, strict=True):
        comparison = arm["comparison"]
        style = STYLES.get(comparison["verdict"], "") if comparison else "bold"
        table.add_row(*(Text(cell) for cell in row), style=style)
    return table


def main_table(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for each arm: values, difference, verdict, cost."""
    data, metric = summary["data"], summary["metric"]["name"]
    values = [metric] if len(data) == 1 else data
    headings = [
        "arm",
        *values,
        "difference",
        "Holm p",
        "verdict",
        "parameters",
        "GFLOP/image",
        "images/s",
        "peak GB",
    ]
    return headings, [_main_row(arm, len(summary["seeds"])) for arm in summary["arms"]]


def settings_table(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Each arm's settings over the common base."""
    rows = [[arm["name"], settings_text(arm["settings"])] for arm in summary["arms"]]
    return ["arm", "settings"], rows


def also_table(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Means and standard deviations, over all trials of an arm, of the other metrics."""
    names = list(dict.fromkeys(name for arm in summary["arms"] for name in arm["also"]))
    rows = []
    for arm in summary["arms"]:
        found = (arm["also"].get(name, {"mean": None, "sd": None}) for name in names)
        rows.append([arm["name"], *(mean_sd(one["mean"], one["sd"]) for one in found)])
    return ["arm", *names], rows


def notes(summary: dict[str, Any]) -> list[str]:
    """What the table alone would hide: missing verdicts, failures, numbers that do not compare."""
    sentences = [f"Warning: {warning}." for warning in summary["warnings"]]
    for arm in summary["arms"]:
        comparison = arm["comparison"]
        if comparison and comparison["note"]:
            sentences.append(f"{arm['name']}: {comparison['verdict']}: {comparison['note']}.")
    for trial in summary["trials"]:
        if trial["state"] not in ("finished", "unfinished"):
            state = trial["state"].replace("_", " ")
            sentences.append(
                f"{trial['arm']}, seed {trial['seed']} on {trial['data']}: {state} at "
                f"{trial['kimg']:g} kimg: {trial['reason']}."
            )
    for arm in summary["arms"]:
        own = [trial for trial in summary["trials"] if trial["arm"] == arm["name"]]
        if warned := [trial["warning"] for trial in own if trial["warning"]]:
            told = f"{len(warned)} of {len(own)} trainings warn"
            sentences.append(f"{arm['name']}: {told}, the first: {warned[0]}")
    if unfinished := sum(trial["state"] == "unfinished" for trial in summary["trials"]):
        sentences.append(f"{unfinished} of {len(summary['trials'])} trainings have not ended.")
    return sentences


def reading(summary: dict[str, Any]) -> str:
    """How the main table is to be read."""
    return READING.format(confidence=summary["confidence"], level=1 - summary["confidence"])


def _main_row(arm: dict[str, Any], seeds: int) -> list[str]:
    comparison = arm["comparison"]
    compared = ["", "", "(baseline)"]
    if comparison:
        compared = [difference(comparison), p_value(comparison["p_holm"]), comparison["verdict"]]
    parameters = "-"
    if arm["params_g"] is not None:
        parameters = f"{count(arm['params_g'])} + {count(arm['params_d'])}"
    return [
        arm["name"],
        *(_of_data(one, seeds) for one in arm["by_data"]),
        *compared,
        parameters,
        number(arm["gflop_per_image"]),
        number(arm["images_per_second"]),
        number(arm["peak_memory_gb"]),
    ]


def _of_data(one: dict[str, Any], seeds: int) -> str:
    counted = "" if one["seeds"] == seeds else f" ({one['seeds']} of {seeds})"
    return mean_sd(one["mean"], one["sd"]) + counted


def _as_markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
