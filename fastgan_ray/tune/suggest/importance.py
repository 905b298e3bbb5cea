"""Compute the importance of each parameter of a search from the search's Optuna study."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from fastgan_ray.counting import counted
from fastgan_ray.report.charts.slices import ENOUGH
from fastgan_ray.tune.suggest.compat import open_journal

EVALUATOR = "PED-ANOVA"
BEST_TRIALS = 5  # the smallest number of trials that count as the best (Watanabe et al. 2023)
MIN_QUANTILE = 0.1


def importances(folder: Path) -> dict[str, Any] | None:
    """Return the importance of each parameter of a search; None if `folder` has no study.

    A parameter is important if it distinguishes the best finished trials from all finished trials.
    The result is a dict with four keys. "evaluator" is the name of the method. "trials" is the
    number of finished trials. "values" is a dict from a parameter's name to the parameter's
    importance, the largest importance first; the importances add up to 1. If there are too few
    finished trials, "values" is empty. "note" is an explanation for the reader of the report.
    """
    journal = folder / "study.journal"
    if not journal.is_file():
        return None
    storage = open_journal(journal)
    names = optuna.get_all_study_names(storage)
    if not names:
        return None
    study = optuna.load_study(study_name=names[0], storage=storage)
    count = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if count < ENOUGH:
        so_far = f"there {'is' if count == 1 else 'are'} {count} so far"
        note = f"Importances need {counted(ENOUGH, 'finished trial')}; {so_far}."
        return {"evaluator": EVALUATOR, "trials": count, "values": {}, "note": note}
    quantile = max(MIN_QUANTILE, BEST_TRIALS / count)
    with warnings.catch_warnings():
        # Optuna warns about experimental features, and if all trials are equal.
        warnings.simplefilter("ignore")
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        values = get_param_importances(study, evaluator=evaluator)
    note = (
        f"{EVALUATOR} of {counted(count, 'finished trial')} measures how well a parameter "
        f"distinguishes the best {quantile:.0%} from all of these trials. Trials that were stopped "
        "early are not counted."
    )
    return {"evaluator": EVALUATOR, "trials": count, "values": values, "note": note}
