"""Record the trials of a search and their outcomes in an Optuna study.

The study is stored in a journal in the search's folder. A finished trial is COMPLETE. A trial that
was stopped early is PRUNED. Its reported values are kept; the step of a value is the number of
images that the trial has seen. A trial that took over another trial's weights is also PRUNED,
because its settings changed. A trial that diverged or ran out of memory is PRUNED and violates a
constraint, so that TPE avoids similar points. A failed trial is FAIL. The trial's user attribute
`outcome` has the exact outcome. A trial that trains an earlier trial's configuration with another
seed has the user attribute `repeat_of`: the id of the earlier trial. If a failed trial continues
after `--resume`, the study gets a second trial with the same id and the user attribute `continues`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from fastgan_ray.search.expected import INFEASIBLE
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.space import SearchSpace, assign
from fastgan_ray.search.warm_start import EarlierTrial
from fastgan_ray.tune.suggest.compat import open_journal, running_trial, unlock_journal
from fastgan_ray.tune.suggest.parameters import distribution, encode, suggest

RUN = "run"  # user attribute of the study: the name of the folder of the search
ERROR = "error at "  # prefix of a user attribute: the standard error of the value at a step


def open_study(
    spec: SearchSpec, journal: Path, sampler: BaseSampler, earlier_trials: Sequence[EarlierTrial]
) -> optuna.Study:
    """Open the study in the file `journal`, or create it there.

    A new study gets `earlier_trials`, which are trials of an earlier search.
    """
    unlock_journal(journal)
    storage = open_journal(journal)
    # A resumed search may have another name in its file, but it has the same study.
    names = optuna.get_all_study_names(storage)
    study = optuna.create_study(
        study_name=names[0] if names else spec.name,
        storage=storage,
        sampler=sampler,
        directions=[metric.goal for metric in (spec.metric, *spec.costs)],
        load_if_exists=True,
    )
    if study.user_attrs.get(RUN) != journal.parent.name:
        study.set_user_attr(RUN, journal.parent.name)
    if not study.get_trials(deepcopy=False):
        for earlier in earlier_trials:
            study.add_trial(frozen_earlier_trial(earlier, spec))
    return study


def frozen_earlier_trial(earlier: EarlierTrial, spec: SearchSpec) -> FrozenTrial:
    """Convert a trial of an earlier search to a trial of this search's Optuna study.

    In the study, it is a trial that was PRUNED after one training picture. Its value is its rank in
    the earlier search, with a minus sign if this search maximizes its metric. If this search has
    several metrics, it has no value. TPE ranks pruned trials below finished trials, first by
    training length, then by value. So TPE prefers every result of this search to earlier trials.
    """
    sign = -1 if spec.metric.goal == "maximize" else 1
    parameters = [parameter for parameter in spec.space if parameter.name in earlier.point]
    return create_trial(
        state=TrialState.PRUNED,
        params={p.name: encode(p, earlier.point[p.name]) for p in parameters},
        distributions={p.name: distribution(p) for p in parameters},
        intermediate_values={} if spec.costs else {1: sign * float(earlier.rank)},
        user_attrs={"earlier_trial": earlier.trial_id},
    )


def ask(
    study: optuna.Study, space: SearchSpace, fixed: Mapping[str, Any] | None
) -> tuple[optuna.Trial, dict[str, Any]]:
    """Return a new trial of the study, and its point (the parameter values).

    The sampler chooses the parameters that `fixed` lacks, or all parameters if `fixed` is None.
    """
    if fixed is not None:
        study.enqueue_trial({p.name: encode(p, fixed[p.name]) for p in space if p.name in fixed})
    trial = study.ask()
    with warnings.catch_warnings():
        # Optuna also warns about allowed uses, such as a range that is not a multiple of its step.
        warnings.simplefilter("ignore")
        return trial, assign(space, lambda parameter: suggest(trial, parameter))


def reject(study: optuna.Study, trial: optuna.Trial, reason: str) -> None:
    """Record in the study that `trial` will not run, and the reason."""
    trial.set_user_attr("reason", reason)
    study.tell(trial, state=TrialState.FAIL)


def failed_trial(study: optuna.Study, trial_id: str) -> FrozenTrial | None:
    """Return the last trial of the study with the id `trial_id` if it failed, else None."""
    trials = [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.user_attrs.get("trial_id") == trial_id
    ]
    return trials[-1] if trials and trials[-1].state == TrialState.FAIL else None


def point_count(study: optuna.Study) -> int:
    """Return the number of points in the study; those of trials that share a point count once."""
    trials = study.get_trials(deepcopy=False)
    return sum(not {"repeat_of", "continues"} & trial.user_attrs.keys() for trial in trials)


def incomplete(study: optuna.Study, seeds: int) -> list[list[FrozenTrial]]:
    """Return the trials of each configuration that needs further trials to have `seeds` trials.

    The configurations are in the order in which their first trials were suggested. A configuration
    is left out if one of its trials was stopped early, went wrong or failed: it gets no further
    seed. The result depends only on the study, so it is the same after a restart.
    """
    # A trial that failed and then continued is twice in the study; the second one counts.
    known = {trial.user_attrs.get("trial_id"): trial for trial in study.get_trials(deepcopy=False)}
    configurations: dict[str, list[FrozenTrial]] = {}
    for name, trial in known.items():
        if name is not None:
            first = trial.user_attrs.get("repeat_of", name)
            configurations.setdefault(first, []).append(trial)
    going_well = (TrialState.RUNNING, TrialState.COMPLETE)
    return [
        trials
        for trials in configurations.values()
        if len(trials) < seeds and all(trial.state in going_well for trial in trials)
    ]


def report_value(study: optuna.Study, number: int, kimg: float, value: float, error: float) -> None:
    """Record a trial's metric value at `kimg` and its standard error, unless already recorded.

    `number` is the trial's number in the study. If the study has several metrics, nothing is
    recorded, because Optuna can rank stopped trials only by a single metric. The error is a user
    attribute of the trial, because Optuna has no place for it; an error of 0 is not recorded.
    """
    step = round(kimg * 1000)
    trial = study.get_trials(deepcopy=False)[number]
    if len(study.directions) == 1 and step not in trial.intermediate_values:
        running = running_trial(study, number)
        if error:
            running.set_user_attr(f"{ERROR}{step}", error)
        running.report(value, step)


def errors_of(trial: FrozenTrial) -> dict[int, float]:
    """Return {step: standard error} of a trial's recorded values, as far as they are known."""
    return {
        int(name.removeprefix(ERROR)): error
        for name, error in trial.user_attrs.items()
        if name.startswith(ERROR)
    }


def report_end(
    study: optuna.Study, number: int, outcome: str, values: Sequence[float] | None
) -> None:
    """Record how a trial ended.

    `number` is the trial's number in the study. `values` has one value per metric. It is None if
    the trial did not finish, or if it took over the weights and settings of another trial.
    """
    trial = running_trial(study, number)
    trial.set_user_attr("outcome", "stopped" if outcome == "running" else outcome)
    if outcome in INFEASIBLE:
        trial.set_constraint("ends well", 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns if a sampler does not use constraints
        if values is not None:
            study.tell(number, list(values))
        elif outcome in ("finished", "running", *INFEASIBLE):
            study.tell(number, state=TrialState.PRUNED)
        else:
            study.tell(number, state=TrialState.FAIL)
