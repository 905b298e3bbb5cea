"""Machines and GPUs on which trials keep dying: named, and left out after a few deaths in a row.

One bad GPU takes every trial that it is given, and so, one after another, all of a search.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial

from fastgan_ray.files import write_atomically
from fastgan_ray.tune.driver.state import reason_of
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.withheld import Place, Withholder, place_here

PLACE = "place.json"  # in a trial's folder: where its process runs, or ran last
# Deaths in a row, of at least two trials, without an evaluation between them.
DEATHS_IN_A_ROW = 3
TRIALS = 2


def note_place(folder: Path) -> None:
    """Write down where this trial's process runs, for the driver to find if it dies."""
    write_atomically(folder / PLACE, json.dumps(place_here()))


def read_place(folder: Path) -> Place | None:
    """Return where a trial's process ran last; None if it has not started."""
    path = folder / PLACE
    if not path.is_file():
        return None
    node, host, gpus = json.loads(path.read_text())
    return Place(node, host, tuple(gpus))


class BadMachines(TrialCallback):
    """Counts deaths by place, and takes a place away from trials when they keep dying there.

    `places` is how many there are: the last one is never taken away. `say` prints a line.
    """

    def __init__(self, trials: Path, places: int, say: Callable[[str], None]) -> None:
        self._trials = trials
        self._places = places
        self._say = say
        self._deaths: dict[Place, list[str]] = {}  # trials that died there since one reported
        self._withholder = Withholder()
        self.left_out: list[Place] = []

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Forget the deaths where a trial gets on."""
        place = read_place(self._trials / trial.trial_id)
        if place is not None:
            self._deaths.pop(place, None)

    def trial_restarts(self, trial: Trial) -> None:
        """Count a death."""
        self._count(trial)

    def trial_failed(self, trial: Trial) -> None:
        """Count the death that was one too many for its trial."""
        self._count(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Hold what has become free."""
        self._withholder.step()

    def _count(self, trial: Trial) -> None:
        place = read_place(self._trials / trial.trial_id)
        if place is None or place in self.left_out:
            return
        deaths = self._deaths.setdefault(place, [])
        deaths.append(trial.trial_id)
        if is_bad(deaths):
            self._leave_out(place, reason_of(trial, {}))

    def _leave_out(self, place: Place, reason: str) -> None:
        died = f"{place}: trials died there {DEATHS_IN_A_ROW} times in a row (the last: {reason})."
        self._deaths.pop(place)
        if len(self.left_out) + 1 >= self._places:
            self._say(f"{died} It is the last one left, so that trials go on there.")
            return
        self.left_out.append(place)
        self._withholder.withhold(place)
        self._say(f"{died} No trial is started there any more.")


def is_bad(deaths: Sequence[str]) -> bool:
    """Whether the trials that died in a row at a place speak against the place."""
    return len(deaths) >= DEATHS_IN_A_ROW and len(set(deaths)) >= TRIALS


def count_places(nodes: Sequence[Mapping[str, float]]) -> int:
    """Return how many places trials may run in: GPUs where there are any, else machines."""
    gpus = int(sum(node.get("GPU", 0.0) for node in nodes))
    return gpus or len(nodes)
