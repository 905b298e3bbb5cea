"""How much each parameter of a search mattered, by its Optuna study."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState

from fastgan_ray.report.charts.slices import ENOUGH
from fastgan_ray.tune.suggest.compat import open_journal

EVALUATOR = "PED-ANOVA"
BEST = 5  # trials among the best that the evaluator wants to see (Watanabe et al. 2023)


def importances(folder: Path) -> dict[str, Any] | None:
    """{"evaluator", "trials", "values": {parameter: share of 1}, "note"}; None without a study.

    The values, the largest first, say which parameters set the best finished trials apart from all
    finished ones. There are none where too few trials have finished, and `note` says so.
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
    found = {"evaluator": EVALUATOR, "trials": count, "values": {}}
    if count < ENOUGH:
        said = f"Importances rest on finished trials: {count} so far, and {ENOUGH} are needed."
        return found | {"note": said}
    quantile = max(0.1, BEST / count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of whatever is experimental, or where all are equal
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        values = get_param_importances(study, evaluator=evaluator)
    note = (
        f"{EVALUATOR} on {count} finished trials: what sets the best {quantile:.0%} of them apart "
        "from all. Trials that were stopped early are not counted."
    )
    return found | {"values": values, "note": note}
