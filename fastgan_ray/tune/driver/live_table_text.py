"""Format the live table: its columns and heading, or lines of text without a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from fastgan_ray.config.feature_networks import MARK, shared_data_note
from fastgan_ray.counting import counted, plural
from fastgan_ray.report.text import number
from fastgan_ray.search.expected import format_chance, format_expected
from fastgan_ray.search.file.spec import DEFAULT
from fastgan_ray.tune.driver.parameters_text import parameters, varied
from fastgan_ray.tune.driver.state import ENDED, State, best_of, default_of, search_eta, trial_eta

STYLES = {"running": "cyan", "pending": "dim", "finished": "green", "stopped": "yellow"}
DEFAULT_MARK = "default:"  # short name of the published default, in front of its parameters


def render(state: State, now: float, max_rows: int | None = None) -> Table:
    """Return the table of all trials.

    `now` is the time on the clock of `state`, in seconds. If there are more than `max_rows` trials,
    only `max_rows` trials are shown. They are chosen in this order: the best trial, running trials,
    ended trials, waiting trials. Of trials in the same state, the newest are chosen.
    """
    best, default, rows = best_of(state), default_of(state), list(state["trials"].values())
    visible = _most_interesting(rows, best, max_rows)
    names = varied([row["point"] for row in rows])
    table = Table(
        title=_title(state, now),
        title_justify="left",
        title_style="",
        caption=_hidden([row for row in rows if row not in visible]),
        caption_justify="left",
        box=None,
        pad_edge=False,
        collapse_padding=True,
        expand=True,  # otherwise Rich breaks the title at the width of the rows
        header_style="bold",
    )
    for heading in ("trial", "state"):
        table.add_column(heading, no_wrap=True)
    predicted = any(map(format_expected, rows))
    headings = ("expected", "chance") if predicted else ()
    for heading in ("kimg", state["metric"].split("_")[0], *headings, "img/s", "ETA"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("parameters", ratio=1)  # Rich narrows the only column that may wrap
    for row in visible:
        is_best = row["id"] == best
        text = parameters(row["point"], names)
        text = f"{DEFAULT_MARK} {text}" if row["id"] == default else text
        table.add_row(*_cells(row, now, text, is_best, predicted), style="bold" if is_best else "")
    return table


def _cells(
    row: State, now: float, parameters_text: str, is_best: bool, predicted: bool
) -> list[str | Text]:
    speed = row["images_per_second"]
    return [
        Text(row["id"]),
        Text(row["state"], STYLES.get(row["state"], "red")),
        progress(row["kimg"], row["total_kimg"]),
        number(row["value"]) + _mark(row) + ("*" if is_best else " "),
        *((format_expected(row), format_chance(row)) if predicted else ()),
        "-" if speed is None else f"{speed:.3g}" if speed < 100 else f"{speed:.0f}",
        duration(trial_eta(row, now)) if row["state"] == "running" else "",
        Text(parameters_text, no_wrap=True, overflow="ellipsis"),
    ]


def _mark(row: State) -> str:
    """Return " †" if the metric value of `row` is biased, otherwise "".

    A value is biased if the metric's network and the discriminator's feature network were trained
    on the same data.
    """
    return f" {MARK}" if row.get("shared_data") and row["value"] is not None else ""


def trial_line(state: State, name: str, now: float) -> str:
    """Return a line of text about the trial `name`, for a log or for the screen above the table."""
    row = state["trials"][name]
    facts = [f"[{duration(now - state['start'])}] trial {_label(state, name)} {row['state']}"]
    if row["kimg"]:
        facts.append(f"{progress(row['kimg'], row['total_kimg'])} kimg")
    if row["value"] is not None:
        facts.append(f"{state['metric']} {number(row['value'])}{_mark(row)}")
    if row["state"] == "running":
        if row["images_per_second"] is not None:
            facts.append(f"{row['images_per_second']:.3g} images/s")
        if eta := trial_eta(row, now):
            facts.append(f"ETA {duration(eta)}")
        if row["kimg"] == row["start"][1]:
            # Show an ablation's arm, data set and seed even if they are the same for all trials.
            cell = [name for name in row["point"] if "." not in name]
            names = varied([other["point"] for other in state["trials"].values()])
            facts.append(parameters(row["point"], [*dict.fromkeys([*cell, *names])]))
    else:
        facts.append(row["reason"])
    return ", ".join(filter(None, facts))


def _label(state: State, name: str) -> str:
    """Return the name of a trial; if the trial is the published default, add a note."""
    return f"{name} ({DEFAULT})" if name == default_of(state) else name


def headline(state: State, now: float) -> str:
    """Return one line with the search's name, how many trials have ended, and the times.

    The times are the elapsed time and an estimate of the remaining time.
    """
    done = sum(row["state"] in ENDED for row in state["trials"].values())
    count = state["total_trials"]
    total = f" {plural('trial')}" if count is None else f" of {counted(count, 'trial')}"
    if state["over"] and all(row["start"] is None for row in state["trials"].values()):
        return f"{state['name']}: {done}{total} done, nothing left to do"
    grid = state["grid_points"]
    points = "" if grid is None else f" (the grid has {counted(grid, 'point')})"
    etas = [eta for eta in (search_eta(state, now), state["seconds_left"]) if eta is not None]
    # A search that is over may have fewer trials than it could have had, e.g. if it is settled.
    unfinished = not state["over"] or done < len(state["trials"])
    eta = min(etas, default=None) if unfinished else None
    left = f", about {duration(eta)} left" if eta else ""
    elapsed = duration(now - state["start"])
    return f"{state['name']}: {done}{total} done{points}, {elapsed} elapsed{left}"


def progress(kimg: float, total_kimg: float) -> str:
    """Format a trial's progress and length in kimg, such as "12.5/40" or "0.015/0.03"."""
    decimals = 0 if total_kimg >= 100 else max(1, 1 - math.floor(math.log10(total_kimg)))
    return f"{round(kimg, decimals):g}/{total_kimg:g}"


def duration(seconds: float | None) -> str:
    """Format seconds as m:ss, h:mm:ss or days and hours; "-" if unknown."""
    if seconds is None:
        return "-"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _title(state: State, now: float) -> Text:
    best = best_of(state)
    goal = "lower" if state["goal"] == "minimize" else "higher"
    metric = f"{state['metric']} ({goal} is better)"
    if best is not None:
        metric += f", best {number(state['trials'][best]['value'])} by {_label(state, best)}"
    notes = {shared_data_note(row.get("shared_data", "")): None for row in state["trials"].values()}
    return Text("\n".join(filter(None, [headline(state, now), state["budget"], metric, *notes])))


def _most_interesting(rows: list[State], best: str | None, max_rows: int | None) -> list[State]:
    if max_rows is None or len(rows) <= max_rows:
        return rows
    order = {"running": 1, "pending": 3}
    latest_first = rows[::-1]
    latest_first.sort(key=lambda row: 0 if row["id"] == best else order.get(row["state"], 2))
    visible = {row["id"] for row in latest_first[:max_rows]}
    return [row for row in rows if row["id"] in visible]


def _hidden(rows: Sequence[State]) -> str | None:
    counts = Counter(row["state"] for row in rows)
    return "and " + ", ".join(f"{n} {word}" for word, n in counts.items()) if counts else None
