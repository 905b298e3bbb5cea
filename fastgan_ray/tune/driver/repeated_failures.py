"""End an experiment early if several trials in a row fail for the same reason.

The cause is probably a setting or the machine, so all other trials would also fail.
"""

from __future__ import annotations

import re
from typing import Any

from ray.tune.experiment import Trial

from fastgan_ray.counting import counted
from fastgan_ray.tune.driver.state import reason_of
from fastgan_ray.tune.ray.callback import TrialCallback

FAILURES_IN_A_ROW = 3


class RepeatedFailures(TrialCallback):
    """Counts how many trials in a row failed for the same reason.

    When `limit` trials in a row have failed, the attribute `reason` is set, and no more trials
    start. The counter is reset when a trial reports an evaluation or ends without a failure. Two
    reasons are the same if they differ only in numbers, such as a memory address.
    """

    def __init__(self, limit: int = FAILURES_IN_A_ROW) -> None:
        self.reason = ""
        self._limit = limit
        self._kind = ""
        self._trials: set[str] = set()

    @property
    def ended(self) -> bool:
        """True if no further trial may start."""
        return bool(self.reason)

    def describe(self) -> str:
        """Return a text that says why the experiment ended early; "" if it did not end early."""
        if not self.reason:
            return ""
        trials = counted(len(self._trials), "trial")
        return f"{trials} in a row failed for the same reason: {self.reason}"

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Count the trial if it reports that it failed; any other report resets the counter."""
        if result.get("outcome") == "failed":
            self._count(trial, result["reason"])
        elif not self.reason:
            self._kind, self._trials = "", set()

    def trial_failed(self, trial: Trial) -> None:
        """Count the trial, because its process died too often."""
        self._count(trial, reason_of(trial, {}))

    def _count(self, trial: Trial, reason: str) -> None:
        kind = re.sub(r"0x[0-9a-f]+|[0-9]+", "0", reason)
        if kind != self._kind:
            if self.reason:
                return
            self._kind, self._trials = kind, set()
        self._trials.add(trial.trial_id)
        if len(self._trials) >= self._limit:
            self.reason = reason
