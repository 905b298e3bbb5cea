"""A search on the screen: a live table on a terminal, plain lines elsewhere.

`render` and `line` are pure functions of the state in `progress.py`; `Table` connects both to Tune.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import rich.table
from ray.tune.experiment import Trial
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fastgan_ray.tune.driver.state import (
    BAD_ENDS,
    ENDED,
    State,
    best_of,
    new_state,
    observe,
    search_eta,
    trial_eta,
)
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.compat import TrialLike

STYLES = {"running": "cyan", "pending": "dim", "finished": "green", "stopped": "yellow"}
LONG_VALUE = 9
LINES_AROUND_ROWS = 7  # title, budget, headings, caption, and one free


class BudgetView(Protocol):
    """A budget as the table shows it."""

    def describe(self) -> str:
        """What is used of it, in a line."""

    def seconds_left(self) -> float | None:
        """Until it is used up; None while that is unknown."""


class Table(TrialCallback):
    """Shows every trial's state, progress in kimg, metric, speed and ETA while Tune runs.

    On a terminal a table that stays in place; elsewhere a line at each start, evaluation and end.
    `metric` is the name that trials report; `total_trials` is None for an open end; `total_kimg` is
    a trial's length unless its configuration varies it. `purse`: the budget, shown above.
    """

    def __init__(
        self,
        name: str,
        metric: str,
        goal: Literal["minimize", "maximize"],
        total_trials: int | None,
        total_kimg: float,
        console: Console | None = None,
        purse: BudgetView | None = None,
    ) -> None:
        self._facts = (name, metric, goal, total_trials, total_kimg)
        self._console = console or Console()
        self._purse = purse
        self._live: Live | None = None
        self._state = new_state(*self._facts, now=time.monotonic())

    def setup(self, *args: object, **info: object) -> None:
        """Start the clock and, on a terminal, the table."""
        self._state = new_state(*self._facts, now=time.monotonic())
        if self._console.is_terminal:
            # What Ray prints goes to its log, not above the table.
            self._live = Live(
                console=self._console,
                get_renderable=self._renderable,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Take up trials that are new or changed by other ways than a report."""
        now = time.monotonic()
        for trial in trials:
            row = self._state["trials"].get(trial.trial_id)
            if row is None or row["state"] not in ENDED:
                self._state = observe(self._state, trial, now)

    def trial_started(self, trial: Trial) -> None:
        """Show a trial that begins or resumes."""
        self._show(trial, status="RUNNING")

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Show an evaluation, unless a resumed trial repeats it or it tells of a bad end."""
        row = self._state["trials"].get(trial.trial_id)
        repeated = row is not None and row["value"] is not None and result["kimg"] <= row["kimg"]
        if not repeated and result.get("outcome") not in BAD_ENDS:
            self._show(trial, result=result)

    def trial_ended(self, trial: Trial) -> None:
        """Show a trial's end, its own or the scheduler's doing."""
        self._show(trial, status="TERMINATED")

    def trial_restarts(self, trial: Trial) -> None:
        """Show that a trial failed and is tried again."""
        self._show(trial, status="PENDING")

    def trial_failed(self, trial: Trial) -> None:
        """Show a trial that failed for good."""
        self._show(trial, status="ERROR")

    def on_experiment_end(self, trials: list[Trial], **info: object) -> None:
        """Leave the last table on the screen, or print it after the lines."""
        if self._live is None:
            self._console.print(render(self._with_budget(), time.monotonic()))
        else:
            self._live.stop()
            self._live = None

    def _show(
        self, trial: TrialLike, result: dict[str, Any] | None = None, status: str | None = None
    ) -> None:
        now = time.monotonic()
        self._state = observe(self._state, trial, now, result, status)
        # The table tells the rest, but not why a trial went wrong.
        if self._live is None or self._state["trials"][trial.trial_id]["state"] in BAD_ENDS:
            self._print(line(self._state, trial.trial_id, now))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()

    def _renderable(self) -> rich.table.Table:
        rows = max(1, self._console.height - LINES_AROUND_ROWS)
        return render(self._with_budget(), time.monotonic(), rows)

    def _with_budget(self) -> State:
        if self._purse is None:
            return self._state
        told, left = self._purse.describe(), self._purse.seconds_left()
        return {**self._state, "budget": told, "seconds_left": left}


def render(state: State, now: float, max_rows: int | None = None) -> rich.table.Table:
    """The table. With more trials than `max_rows` the best, running and latest ones are shown."""
    best, rows = best_of(state), list(state["trials"].values())
    shown = _most_interesting(rows, best, max_rows)
    names = varied([row["point"] for row in rows])
    table = rich.table.Table(
        title=_title(state, now),
        title_justify="left",
        title_style="",
        caption=_hidden([row for row in rows if row not in shown]),
        caption_justify="left",
        box=None,
        pad_edge=False,
        collapse_padding=True,
        expand=True,  # else the title is broken at the width of the rows
        header_style="bold",
    )
    for heading in ("trial", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("kimg", state["metric"].split("_")[0], "img/s", "ETA"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("parameters", ratio=1)  # the one that may wrap is the one that Rich narrows
    for row in shown:
        speed = row["images_per_second"]
        is_best = row["id"] == best
        table.add_row(
            Text(row["id"]),
            Text(row["state"], STYLES.get(row["state"], "red")),
            progress(row["kimg"], row["total_kimg"]),
            metric_text(row["value"]) + ("*" if is_best else " "),
            "-" if speed is None else f"{speed:.3g}" if speed < 100 else f"{speed:.0f}",
            duration(trial_eta(row, now)) if row["state"] == "running" else "",
            Text(parameters(row["point"], names), no_wrap=True, overflow="ellipsis"),
            style="bold" if is_best else "",
        )
    return table


def line(state: State, name: str, now: float) -> str:
    """One trial as a line of text, for logs and for what must not scroll out of the table."""
    row = state["trials"][name]
    facts = [f"{progress(row['kimg'], row['total_kimg'])} kimg"] if row["kimg"] else []
    if row["value"] is not None:
        facts.append(f"{state['metric']} {metric_text(row['value'])}")
    if row["state"] == "running":
        if row["images_per_second"] is not None:
            facts.append(f"{row['images_per_second']:.3g} images/s")
        if eta := trial_eta(row, now):
            facts.append(f"ETA {duration(eta)}")
        if row["kimg"] == row["began"][1]:
            # An ablation's arm, data and seed also where the trials so far share them.
            cell = [name for name in row["point"] if "." not in name]
            names = varied([other["point"] for other in state["trials"].values()])
            facts.append(parameters(row["point"], [*dict.fromkeys([*cell, *names])]))
    elif row["reason"]:
        facts.append(row["reason"])
    text = f"[{duration(now - state['started'])}] trial {name} {row['state']}"
    return ", ".join(filter(None, [text, *facts]))


def headline(state: State, now: float) -> str:
    """The whole search in a line: name, trials done, time."""
    done = sum(row["state"] in ENDED for row in state["trials"].values())
    total = state["total_trials"]
    of = "" if total is None else f" of {total}"
    known = [eta for eta in (search_eta(state, now), state["seconds_left"]) if eta is not None]
    eta = min(known, default=None)
    left = "" if not eta else f", about {duration(eta)} left"
    elapsed = duration(now - state["started"])
    return f"{state['name']}: {done}{of} trials done, {elapsed} elapsed{left}"


def varied(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names whose values differ between points (all names of a lone point), long values last.

    What a narrow column cuts off is then the end of one long value and not the short ones.
    """
    lengths: dict[str, int] = {}
    for point in points:
        for name, value in point.items():
            lengths[name] = max(lengths.get(name, 0), len(_short(value)))
    several = [
        name
        for name in lengths
        if len(points) < 2 or len({repr(point.get(name)) for point in points}) > 1
    ]
    return sorted(several, key=lambda name: lengths[name] > LONG_VALUE)


def parameters(point: Mapping[str, Any], names: Sequence[str]) -> str:
    """`names` of a point as short text: {"model.ngf": 8, "train.lr_g": 2e-4} -> ngf=8 lr_g=0.0002.

    A leaf name that two sections share keeps its section.
    """
    leaves = Counter(name.rsplit(".", 1)[-1] for name in names)
    pairs = []
    for name in names:
        leaf = name.rsplit(".", 1)[-1]
        if name in point:
            pairs.append(f"{leaf if leaves[leaf] == 1 else name}={_short(point[name])}")
    return " ".join(pairs)


def metric_text(value: float | None) -> str:
    """A metric's value, short: one decimal, three digits below one."""
    return "-" if value is None else f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"


def progress(kimg: float, total_kimg: float) -> str:
    """Position and total in kimg, short: "12.5/40", "0.015/0.03"."""
    decimals = 0 if total_kimg >= 100 else max(1, 1 - math.floor(math.log10(total_kimg)))
    return f"{round(kimg, decimals):g}/{total_kimg:g}"


def duration(seconds: float | None) -> str:
    """Seconds as m:ss, h:mm:ss or days and hours; a dash when unknown."""
    if seconds is None:
        return "-"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _short(value: object) -> str:
    if isinstance(value, str) and "," in value:
        return ",".join(word.strip()[:3] for word in value.split(","))
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return "/".join(map(_short, value))
    return str(value) or "none"


def _title(state: State, now: float) -> Text:
    best = best_of(state)
    goal = "lower" if state["goal"] == "minimize" else "higher"
    second = f"{state['metric']} ({goal} is better)"
    if best is not None:
        second += f", best {metric_text(state['trials'][best]['value'])} by {best}"
    lines = [headline(state, now), *([state["budget"]] if state["budget"] else []), second]
    return Text("\n".join(lines))


def _most_interesting(rows: list[State], best: str | None, max_rows: int | None) -> list[State]:
    if max_rows is None or len(rows) <= max_rows:
        return rows
    order = {"running": 1, "pending": 3}
    latest_first = rows[::-1]
    latest_first.sort(key=lambda row: 0 if row["id"] == best else order.get(row["state"], 2))
    kept = {row["id"] for row in latest_first[:max_rows]}
    return [row for row in rows if row["id"] in kept]


def _hidden(rows: Sequence[State]) -> str | None:
    counts = Counter(row["state"] for row in rows)
    return "and " + ", ".join(f"{n} {word}" for word, n in counts.items()) if counts else None
