"""Read the trials of an Optuna study: for the Gaussian process, and those of another search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from fastgan_ray.search.curves.trials import Trial
from fastgan_ray.search.expected import INFEASIBLE
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.warm_start import EarlierTrial
from fastgan_ray.tune.suggest.parameters import point_of
from fastgan_ray.tune.suggest.study import errors_of


def trials_of(study: optuna.Study, spec: SearchSpec) -> list[Trial]:
    """Return the trials to learn from, including running trials.

    Failed trials, rejected points, and trials of another search are left out. A trial that diverged
    or ran out of memory does not count as failed. If higher is better, the values are negated.
    """
    return [
        _trial(trial, spec)
        for trial in study.get_trials(deepcopy=False)
        if trial.state != TrialState.FAIL and "trial_id" in trial.user_attrs
    ]


def earlier_trials_of(study: optuna.Study, spec: SearchSpec) -> list[EarlierTrial]:
    """Return the trials of an earlier search that `open_study` has added to the study."""
    trials = [t for t in study.get_trials(deepcopy=False) if "earlier_trial" in t.user_attrs]
    return [
        EarlierTrial(point_of(trial, spec.space), rank, trial.user_attrs["earlier_trial"])
        for rank, trial in enumerate(trials)
    ]


def suggested_points(study: optuna.Study, spec: SearchSpec) -> list[Mapping[str, Any]]:
    """Return all points of a search so far, also those of failed trials and rejected ones."""
    return [
        point_of(trial, spec.space)
        for trial in study.get_trials(deepcopy=False)
        if "earlier_trial" not in trial.user_attrs
    ]


def _trial(trial: FrozenTrial, spec: SearchSpec) -> Trial:
    """Convert a trial; as in its record, the last value is that of its best checkpoint."""
    sign = -1 if spec.metric.goal == "maximize" else 1
    values = dict(trial.intermediate_values)
    if trial.state == TrialState.COMPLETE and values and trial.values:
        values[max(values)] = trial.values[0]
    return Trial(
        point=point_of(trial, spec.space),
        values={step / 1000: sign * value for step, value in values.items()},
        is_running=trial.state == TrialState.RUNNING,
        is_infeasible=trial.user_attrs.get("outcome") in INFEASIBLE,
        errors={step / 1000: error for step, error in errors_of(trial).items()},
    )
