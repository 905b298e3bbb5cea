"""Decide when a further training would bring too little (`budget: {until: settled}`)."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from fastgan_ray.files import write_atomically
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.tune.suggest.model import Model
from fastgan_ray.tune.suggest.study_trials import trials_of

FILE = "settled.json"
MIN_FINISHED = 6  # finished trials before a search can be settled


class Settled:
    """Says whether a search is settled: a further training would bring too little.

    This is so if the best candidate for a further training is expected to improve the result of the
    search by less than `budget.least_gain` percent. The candidate and the improvement are those of
    the sampler `curves`, whatever sampler the search has. The answer depends only on the search
    file and the study, so it is the same after a restart.
    """

    def __init__(self, spec: SearchSpec, folder: Path) -> None:
        self._spec = spec
        self._file = folder / FILE
        self._known: tuple[int, bool] = (0, False)  # ended trials, and the answer then
        self._model: Model | None = None

    def reached(self, study: optuna.Study) -> bool:
        """Return whether the search is settled; write settled.json, or remove it."""
        if self._spec.budget.until != "settled":
            return False
        ended = _count(study, *(state for state in TrialState if state.is_finished()))
        if ended != self._known[0]:
            self._known = ended, self._decide(study)
        return self._known[1]

    def _decide(self, study: optuna.Study) -> bool:
        if (finished := _count(study, TrialState.COMPLETE)) < MIN_FINISHED:
            return False
        gain = 100 * self._gain(study)
        settled = gain < self._spec.budget.least_gain
        if settled:
            write_atomically(self._file, json.dumps({"finished": finished, "gain": gain}))
        else:
            self._file.unlink(missing_ok=True)
        return settled

    def _gain(self, study: optuna.Study) -> float:
        """Return the expected gain of the best candidate, on the scale of the process."""
        trials = trials_of(study, self._spec)
        self._model = model = self._model or Model(study, self._spec)
        rng = random.Random(f"{self._spec.seed} {len(trials)}")
        return model.best_candidate(study, trials, model.fitted(trials), rng).gain


def settled_sentence(folder: Path, spec: SearchSpec) -> str:
    """Return why a search ended before its run_cap, from settled.json in `folder`; "" if not.

    A search that is resumed without `until` may still have the file.
    """
    file = folder / FILE
    if spec.budget.until is None or not file.is_file():
        return ""
    known: dict[str, Any] = json.loads(file.read_text())
    return (
        f"The search is settled after {known['finished']} finished of at most {spec.run_cap} "
        f"trials: a further trial is expected to improve the result by only {known['gain']:.2g} %."
    )


def _count(study: optuna.Study, *states: TrialState) -> int:
    return len(study.get_trials(deepcopy=False, states=states))
