"""The results of a search, an ablation or a training, as an object with pandas data frames."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import load_run_config
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.names import best_name
from fastgan_ray.report.data.ranking import best_trial
from fastgan_ray.report.data.run_folder import Run, Trial, read_run
from fastgan_ray.search.file.spec import DEFAULT

if TYPE_CHECKING:
    from pandas import DataFrame

    from fastgan_ray.latent.generator import Generator
    from fastgan_ray.train.find_checkpoint import Which

_TRIAL = ("state", "value", "error", "kimg", "seconds", "reason", "warning")
_ARM = ("pairs", "low", "high", "p", "p_holm", "verdict", "note")


@dataclass(frozen=True)
class Best:
    """The best trial of a search, the best arm of an ablation, or the result of a training.

    `settings` maps dotted names to values: the searched settings of a trial, the settings of an
    arm, or the settings of a training that differ from the published defaults. `value` is the value
    of the run's metric. For an arm, `value` is the mean over seeds, or None if the ablation has
    several data sets. `kimg` is the number of real images, in thousands, that the discriminator had
    seen at the best checkpoint, or None if unknown. `folder` contains the checkpoint and at least
    one grid of samples.
    """

    name: str
    settings: dict[str, Any]
    value: float | None
    kimg: float | None
    folder: Path

    @property
    def config(self) -> RunConfig:
        """The complete configuration, which can be the argument `config` of `run_training`."""
        from fastgan_ray.train.checkpoint import stored_config
        from fastgan_ray.train.find_checkpoint import find_checkpoint

        return stored_config(find_checkpoint(self.folder))


@dataclass(frozen=True)
class Results:
    """The results of a search, an ablation or a training, which may still be running.

    `metric` is the name of the run's metric. `best` is None if no trial has a metric value yet.
    `summary` is the content of summary.json (search) or ablation.json, and {} for a training.
    The data frames `trials`, `rows` and `arms` are created when they are first used.
    """

    kind: Literal["search", "ablation", "training"]
    folder: Path
    metric: str
    goal: Literal["minimize", "maximize"]
    best: Best | None
    summary: Mapping[str, Any] = field(repr=False)
    _run: Run = field(repr=False)

    @functools.cached_property
    def trials(self) -> DataFrame:
        """A data frame with a row for each trial.

        The columns are the trial's name, state, metric value, standard error ("error"), kimg, time
        in seconds, reason of a stop or failure, warning, and one column for each parameter.
        """
        return _frame(
            {
                "trial": trial["trial_id"],
                **{key: trial[key] for key in _TRIAL},
                **trial["point"],
            }
            for trial in self._run["trials"]
        )

    @functools.cached_property
    def rows(self) -> DataFrame:
        """A data frame with a row for each evaluation of each trial.

        The columns are the trial's name and everything that evaluations record, e.g. metrics.
        """
        return _frame(
            {"trial": trial["trial_id"], **row}
            for trial in self._run["trials"]
            for row in trial["rows"]
        )

    @functools.cached_property
    def arms(self) -> DataFrame:
        """A data frame with a row for each arm and data set of an ablation; empty for other runs.

        The column `difference` is the mean difference from the baseline. `low` and `high` are the
        limits of its confidence interval. All three are in percent if the ablation has several data
        sets.
        """
        return _frame(
            {
                "arm": arm["name"],
                **{key: part[key] for key in ("data", "seeds", "mean", "sd")},
                **_difference(part["comparison"] or (arm["comparison"] if alone else None)),
            }
            for arm in self.summary.get("arms", ())
            for alone in [len(arm["by_data"]) == 1]
            for part in arm["by_data"]
        )

    def generator(self, device: str = "auto", which: Which = "best") -> Generator:
        """Load the generator of `best`: the best trial, the best arm, or the training.

        `device` is "auto", "cpu", "cuda" or "mps". `which` chooses the best or the last checkpoint.
        Raise UserError if no trial has a metric value yet.
        """
        from fastgan_ray.latent.generator import Generator

        if self.best is None:
            raise UserError(
                f"{self.folder}: has no generator yet, because no trial has a metric value"
            )
        folder = self.folder if self.kind == "search" else self.best.folder
        return Generator.load(folder, device, which)


def read_results(folder: str | Path) -> Results:
    """Read the results of a search, an ablation or a training from its folder.

    The run may still be in progress. Raise UserError if the folder is not the folder of a run.
    """
    run = read_run(Path(folder))
    return Results(
        kind=run["kind"],
        folder=Path(folder),
        metric=run["metric"]["name"],
        goal=run["metric"]["goal"],
        best=_BEST[run["kind"]](run, Path(folder)),
        summary=run["account"] or {},
        _run=run,
    )


def _best_of_search(run: Run, folder: Path) -> Best | None:
    best = (run["account"] or {}).get("best")
    if not best:
        return None
    name, trials = best["trial_id"], {trial["trial_id"]: trial for trial in run["trials"]}
    if name is None:  # the published default won the confirmation, and no trial had its settings
        settings = flatten(best["config"])
        searched = dict.fromkeys(name for trial in run["trials"] for name in trial["point"])
        name, point = DEFAULT, {key: settings[key] for key in searched}
    else:
        point = dict(trials[name]["point"])
    return Best(name, point, best["value"], best.get("best_kimg"), folder / "best")


def _best_of_ablation(run: Run, folder: Path) -> Best | None:
    """Return the arm with the best mean difference from the baseline.

    The difference of the baseline itself is 0. Return None if no arm has a mean on each data set.
    """
    account = run["account"] or {"arms": []}
    sign = 1 if run["metric"]["goal"] == "minimize" else -1
    ranked = []
    for arm in account["arms"]:
        means = [part["mean"] for part in arm["by_data"]]
        is_baseline = arm["name"] == account["baseline"]
        change = 0.0 if is_baseline else (arm["comparison"] or {}).get("mean")
        if change is not None and None not in means:
            ranked.append((sign * change, arm["name"], arm, means))
    if not ranked:
        return None
    _, name, arm, means = min(ranked, key=lambda entry: entry[:2])
    cells = [trial for trial in run["trials"] if trial["point"].get("arm") == name]
    trial = best_trial({**run, "trials": cells})
    if trial is None:
        return None
    value = means[0] if len(means) == 1 else None
    own = folder / "trials" / trial["trial_id"]
    return Best(name, dict(arm["settings"]), value, _best_kimg(trial), own)


def _best_of_training(run: Run, folder: Path) -> Best | None:
    (trial,) = run["trials"]
    if not trial["rows"]:
        return None
    config = flatten(load_run_config(folder / "config.yaml").model_dump())
    defaults = flatten(RunConfig().model_dump())
    settings = {name: value for name, value in config.items() if value != defaults[name]}
    return Best(run["name"], settings, trial["value"], _best_kimg(trial), folder)


_BEST = {
    "search": _best_of_search,
    "ablation": _best_of_ablation,
    "training": _best_of_training,
}


def _best_kimg(trial: Trial) -> float | None:
    kimg = trial["rows"][-1].get(best_name("kimg")) if trial["rows"] else None
    return None if kimg is None else float(kimg)


def _difference(comparison: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return {column name: value} for the comparison of an arm with the baseline.

    Every value is None if `comparison` is None, as for the baseline.
    """
    comparison = comparison or {}
    return {
        "difference": comparison.get("mean"),
        **{key: comparison.get(key) for key in _ARM},
    }


def _frame(rows: Any) -> DataFrame:  # noqa: ANN401 - an iterable of mappings
    import pandas

    return pandas.DataFrame(list(rows))
