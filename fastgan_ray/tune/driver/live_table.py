"""Show the progress of a run: a live table on a terminal, otherwise lines of text."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ray.tune.experiment import Trial
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fastgan_ray.tune.driver.budget import BudgetTracker
from fastgan_ray.tune.driver.live_table_text import render, trial_line
from fastgan_ray.tune.driver.state import (
    BAD_ENDS,
    ENDED,
    State,
    new_state,
    observe,
    with_predictions,
)
from fastgan_ray.tune.driver.status import ProgressFile
from fastgan_ray.tune.ray.callback import TrialCallback

LINES_AROUND_ROWS = 7  # lines for the title, budget, headings and caption, and one empty line


class LiveTable(TrialCallback):
    """Shows the state, kimg, metric, speed and ETA of every trial while Ray Tune runs.

    Without a terminal, it prints a line whenever a trial starts, is evaluated or ends. `name` is
    the name of the search. `metric` is the metric's name in the trials' results, and `goal` says
    whether lower or higher values are better. At most `total_trials` trials run; None means no
    limit. `total_kimg` is the length of trials whose configuration does not set a length. A line
    above the table says how much of `budget` is used. `default` has the parameter values of the
    published default. `grid_points` is the number of points of a grid search. `progress` writes the
    table's state to a file that other processes read. `expected` returns the newest records of
    trials with expected values, by trial id (see `search/expected.py`).

    Ray's reporters are not used because they show no kimg, ETA or budget, and print a new table
    each time.
    """

    def __init__(
        self,
        name: str,
        metric: str,
        goal: Literal["minimize", "maximize"],
        total_trials: int | None,
        total_kimg: float,
        console: Console | None = None,
        budget: BudgetTracker | None = None,
        default: Mapping[str, Any] | None = None,
        grid_points: int | None = None,
        progress: ProgressFile | None = None,
        expected: Callable[[], Mapping[str, Mapping[str, Any]]] = dict,
    ) -> None:
        self._facts = (name, metric, goal, total_trials, total_kimg)
        self._default, self._grid_points = default, grid_points
        self._progress = progress
        self._expected = expected
        self._console = console or Console()
        self._budget = budget
        self._live: Live | None = None
        self._state = self._new_state()

    def setup(self, *args: object, **info: object) -> None:
        """Start to measure the elapsed time; on a terminal, also start the live table."""
        self._state = self._new_state()
        if self._console.is_terminal:
            # Ray's output goes to Ray's log, not above the table.
            self._live = Live(
                console=self._console,
                get_renderable=self._live_table,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Update the table rows of all trials that have not ended, including new trials."""
        now = time.monotonic()
        for trial in trials:
            row = self._state["trials"].get(trial.trial_id)
            if row is None or row["state"] not in ENDED:
                self._state = observe(self._state, trial, now)
        self._save(now)

    def trial_started(self, trial: Trial) -> None:
        """Show that a trial starts or continues."""
        self._show(trial, status="RUNNING")

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Show a new evaluation of a trial.

        Ignore a report that says that the trial failed, diverged or ran out of memory. Also ignore
        repeated evaluations: a resumed trial reports its earlier evaluations again.
        """
        row = self._state["trials"].get(trial.trial_id)
        repeated = row is not None and row["value"] is not None and result["kimg"] <= row["kimg"]
        if not repeated and result.get("outcome") not in BAD_ENDS:
            self._show(trial, result=result)

    def trial_ended(self, trial: Trial) -> None:
        """Show that a trial has finished or was stopped."""
        self._show(trial, status="TERMINATED")

    def trial_restarts(self, trial: Trial) -> None:
        """Show that a trial waits for a restart, because its process died."""
        self._show(trial, status="PENDING")

    def trial_failed(self, trial: Trial) -> None:
        """Show that a trial has failed, because its process died too often."""
        self._show(trial, status="ERROR")

    def on_experiment_end(self, trials: list[Trial], **info: object) -> None:
        """Stop updating the live table, which stays on the screen.

        Without a terminal, print the final table.
        """
        now = time.monotonic()
        # If all trials had ended before a resume, no step has updated the table.
        for trial in trials:
            if trial.trial_id not in self._state["trials"]:
                self._state = observe(self._state, trial, now)
        self._state = {**self._state, "over": True}
        self._save(now, at_once=True)
        if self._live is None:
            self._console.print(render(self._state_with_budget(), time.monotonic()))
        else:
            self._live.stop()
            self._live = None

    def _show(
        self, trial: Trial, result: dict[str, Any] | None = None, status: str | None = None
    ) -> None:
        now = time.monotonic()
        self._state = observe(self._state, trial, now, result, status)
        # The live table has no space for the reason of a failure, so it is printed above.
        if self._live is None or self._state["trials"][trial.trial_id]["state"] in BAD_ENDS:
            line = trial_line(self._state, trial.trial_id, now)
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._console.file.flush()

    def _save(self, now: float, at_once: bool = False) -> None:
        if self._progress is not None:
            self._progress.write(self._state_with_budget(), now, at_once)

    def _new_state(self) -> State:
        now = time.monotonic()
        return new_state(*self._facts, now, self._default, self._grid_points)

    def _live_table(self) -> Table:
        max_rows = max(1, self._console.height - LINES_AROUND_ROWS)
        return render(self._state_with_budget(), time.monotonic(), max_rows)

    def _state_with_budget(self) -> State:
        state = with_predictions(self._state, self._expected())
        if self._budget is None:
            return state
        budget, seconds_left = self._budget.describe(), self._budget.seconds_left()
        return {**state, "budget": budget, "seconds_left": seconds_left}
