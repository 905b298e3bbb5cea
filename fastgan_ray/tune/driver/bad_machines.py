"""Exclude machines and GPUs where trials die repeatedly, and tell the user.

Otherwise one bad GPU could kill all trials of a search, one after another. In this module, a place
is a GPU, or a whole machine if trials use no GPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ray.tune.experiment import Trial

from fastgan_ray.files import write_atomically
from fastgan_ray.tune.driver.state import reason_of
from fastgan_ray.tune.ray.callback import TrialCallback
from fastgan_ray.tune.ray.withheld import Place, Withholder, place_here
from fastgan_ray.tune.trial.folder import PLACE

# A place is bad after DEATHS_IN_A_ROW deaths there with no evaluation in between, if at least
# TRIALS different trials died. If DEATHS_IN_A_ROW of these deaths are machine faults, a single
# trial is enough.
DEATHS_IN_A_ROW = 3
TRIALS = 2


class Death(NamedTuple):
    """One death of a trial's process.

    `trial` is the trial's id. `is_machine_fault` is true if the error says that a GPU failed.
    """

    trial: str
    is_machine_fault: bool


def note_place(folder: Path) -> None:
    """Write the machine and the GPUs of this process to the file PLACE in a trial's folder.

    The driver (the process that runs the search) reads this file.
    """
    write_atomically(folder / PLACE, json.dumps(place_here()))


def read_place(folder: Path) -> Place | None:
    """Return the machine and the GPUs where a trial last ran; None if the trial never started.

    `folder` is the trial's folder.
    """
    path = folder / PLACE
    if not path.is_file():
        return None
    node, host, gpus = json.loads(path.read_text())
    return Place(node, host, tuple(gpus))


class BadMachines(TrialCallback):
    """Counts how often trials die at each place, and excludes places where they die repeatedly.

    A place is a GPU, or a whole machine if trials use no GPU. `places` is the total number of
    places. The last remaining place is never excluded. `trials` is the folder that contains all
    trials' folders. `say` takes a line of text and prints it.
    """

    def __init__(self, trials: Path, places: int, say: Callable[[str], None]) -> None:
        self._trials = trials
        self._places = places
        self._say = say
        self._deaths: dict[Place, list[Death]] = {}  # deaths since the last evaluation at the place
        self._withholder = Withholder()
        self.left_out: list[Place] = []

    def trial_reported(self, trial: Trial, result: dict[str, Any]) -> None:
        """Reset the count of deaths at the GPU or machine where `trial` runs.

        A report shows that this GPU or machine works.
        """
        place = read_place(self._trials / trial.trial_id)
        if place is not None:
            self._deaths.pop(place, None)

    def trial_restarts(self, trial: Trial) -> None:
        """Count the death of a trial's process; Ray will start the trial again."""
        self._count(trial)

    def trial_failed(self, trial: Trial) -> None:
        """Count the death of a trial's process; Ray will not start the trial again."""
        self._count(trial)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Reserve each excluded GPU or machine as soon as it is free, so that no trial gets it."""
        self._withholder.step()

    def _count(self, trial: Trial) -> None:
        place = read_place(self._trials / trial.trial_id)
        if place is None or place in self.left_out:
            return
        reason = reason_of(trial, {})
        deaths = self._deaths.setdefault(place, [])
        deaths.append(Death(trial.trial_id, _is_machine_fault(reason)))
        if is_bad(deaths):
            self._leave_out(place, reason)

    def _leave_out(self, place: Place, reason: str) -> None:
        problem = (
            f"{place}: trials died here {DEATHS_IN_A_ROW} times in a row "
            f"(the last reason: {reason})."
        )
        self._deaths.pop(place)
        if len(self.left_out) + 1 >= self._places:
            self._say(f"{problem} No other GPU or machine is left, so trials still start here.")
            return
        self.left_out.append(place)
        self._withholder.withhold(place)
        self._say(f"{problem} No more trials start here.")


def is_bad(deaths: Sequence[Death]) -> bool:
    """Return whether no more trials may start at a place (a GPU or a machine).

    `deaths` are all deaths of trials at this place since the last evaluation there.
    """
    faults = sum(death.is_machine_fault for death in deaths)
    trials = {death.trial for death in deaths}
    return faults >= DEATHS_IN_A_ROW or (len(deaths) >= DEATHS_IN_A_ROW and len(trials) >= TRIALS)


def _is_machine_fault(reason: str) -> bool:
    from fastgan_ray.train.failures import is_machine_fault  # imports PyTorch

    return is_machine_fault(RuntimeError(reason))


def count_places(nodes: Sequence[Mapping[str, float]]) -> int:
    """Return the number of GPUs, or the number of machines if there are no GPUs.

    `nodes` are the resources of each machine.
    """
    gpus = int(sum(node.get("GPU", 0.0) for node in nodes))
    return gpus or len(nodes)
