"""Ways to search that need packages which the project itself does not: OptunaHub's and SMAC3's.

    pip install "fastgan-ray[anchors]"

Each is set up as its own documentation does. OptunaHub downloads the code of a sampler from GitHub,
at its first use.
"""

from __future__ import annotations

import importlib.util
import json
import math
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
from replay import SimulatedTrial, Step
from search_task import WORKERS, BestPoints, Point, Task, run_trials

from fastgan_ray.search.space import Parameter, SearchSpace, assign, is_number

HPO, MULTI_FIDELITY = "HyperparameterOptimizationFacade", "MultiFidelityFacade"
# `n_trials` of SMAC3's scenario, from which it computes the size of its initial design. With
# Hyperband, the same cost is spent on more trials, because most of them are short.
TRIALS = {HPO: 32, MULTI_FIDELITY: 48}
LUCK = 0.048  # the share by which another seed moves a value (results/search.md)
DIVERGED = 1000.0  # what SMAC3, which needs a number, gets as the distance of such a training
AUTO = "samplers/auto_sampler"
HETEROSCEDASTIC = "samplers/heteroscedastic_gp"


@cache
def missing(needed: str) -> str:
    """Return why a way to search cannot run here; empty if it can.

    `needed` is a module, or a sampler of OptunaHub with a slash in its name.
    """
    module = "optunahub" if "/" in needed else needed
    if importlib.util.find_spec(module) is None:
        return f"the package {module} is not installed"
    if "/" in needed:
        try:
            _from_hub(needed)
        except ImportError as error:
            return f"the code of {needed} does not run with Optuna {optuna.__version__}: {error}"
        except Exception as error:  # of git, of GitHub, of a connection: each has its own
            return f"the code of {needed} could not be downloaded ({type(error).__name__})"
    return ""


@cache
def _from_hub(sampler: str) -> ModuleType:
    import optunahub

    module: ModuleType = optunahub.load_module(sampler)
    return module


def auto_sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Return OptunaHub's AutoSampler, which chooses among the samplers of Optuna."""
    sampler: optuna.samplers.BaseSampler = _from_hub(AUTO).AutoSampler(seed=seed)
    return sampler


def heteroscedastic_gp(seed: int) -> optuna.samplers.BaseSampler:
    """Return OptunaHub's HeteroscedasticGPSampler; `noise_func` gives the variance of a value."""
    sampler: optuna.samplers.BaseSampler = _from_hub(HETEROSCEDASTIC).HeteroscedasticGPSampler(
        seed=seed, noise_func=lambda trial: (LUCK * trial.value) ** 2
    )
    return sampler


def smac(facade: str, task: Task, seed: int) -> BestPoints:
    """Search with a facade of SMAC3 and its defaults, by asking and telling.

    The best point is SMAC3's incumbent: the facade HPO trains good points again with other seeds
    and compares means. The facade MULTI_FIDELITY runs Hyperband on the reports of a training, and a
    longer trial of a point continues its last one, so it costs what it adds.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as means of points whose first training still runs
        return _smac(facade, task, seed)


def _smac(facade: str, task: Task, seed: int) -> BestPoints:
    import smac
    from smac.runhistory import StatusType, TrialInfo, TrialValue

    space = task.spec("method: random", "", seed, task.kimg[-1]).space
    infos: list[TrialInfo] = []
    rows_done: dict[Point | str, int] = {}
    points: BestPoints = []
    with tempfile.TemporaryDirectory() as folder:
        budgets = {"min_budget": 1, "max_budget": len(task.kimg)}
        scenario = smac.Scenario(
            config_space(space),
            output_directory=Path(folder),
            n_trials=TRIALS[facade],
            seed=seed,
            **(budgets if facade == MULTI_FIDELITY else {}),
        )
        search = getattr(smac, facade)(scenario, _no_function, overwrite=True, logging_level=False)

        def ask(number: int) -> tuple[Point, Sequence[Step]]:
            info = search.ask()
            infos.append(info)
            point = point_of(space, dict(info.config))
            rows = math.ceil(info.budget) if info.budget else len(task.kimg)
            key = json.dumps([point, info.seed], sort_keys=True)
            first = min(rows_done.get(key, 0), rows - 1)
            rows_done[key] = max(rows, first)
            curve = task.curve(point, info.seed)
            return point, curve[first:rows] if len(curve) > 1 else curve

        def tell(trial: SimulatedTrial, spent: float) -> None:
            value = trial.steps[-1][1].value
            status = StatusType.CRASHED if value is None else StatusType.SUCCESS
            result = TrialValue(DIVERGED if value is None else value, status=status)
            search.tell(infos[trial.number], result, save=False)
            if incumbents := search.intensifier.get_incumbents():
                points.append((spent, point_of(space, dict(incumbents[0]))))

        run_trials(ask, tell, WORKERS)
    return points


def _no_function(config: object, seed: int = 0, budget: float = 0) -> float:
    """Fail: SMAC3 requires a target function, but never calls it with ask and tell."""
    raise AssertionError("SMAC3 has called the target function")


def config_space(space: SearchSpace) -> Any:  # noqa: ANN401 - the package may be missing
    """Return a search space as a ConfigSpace, with its conditions.

    Lists of numbers are ordinal, other lists are categorical; their values are JSON texts.
    """
    import ConfigSpace

    result = ConfigSpace.ConfigurationSpace()
    members: dict[str, Any] = {}
    for parameter in space:
        members[parameter.name] = _member(parameter)
    result.add(*members.values())
    for parameter in space:
        conditions = [
            ConfigSpace.InCondition(
                members[parameter.name], members[parent], [json.dumps(value) for value in values]
            )
            for parent, values in parameter.when
        ]
        if conditions:
            both = len(conditions) > 1
            result.add(ConfigSpace.AndConjunction(*conditions) if both else conditions[0])
    return result


def _member(parameter: Parameter) -> Any:  # noqa: ANN401 - the package may be missing
    import ConfigSpace

    name = parameter.name
    if not parameter.values:
        bounds = float(parameter.low), float(parameter.high)
        return ConfigSpace.UniformFloatHyperparameter(name, *bounds, log=parameter.log)
    texts = [json.dumps(value) for value in parameter.values]
    if len(texts) > 1 and all(is_number(value) for value in parameter.values):
        return ConfigSpace.OrdinalHyperparameter(name, texts)
    return ConfigSpace.CategoricalHyperparameter(name, texts, weights=parameter.probabilities)


def point_of(space: SearchSpace, values: dict[str, Any]) -> Point:
    """Return the point of a configuration of `config_space`."""

    def value(parameter: Parameter) -> Any:  # noqa: ANN401 - any value of a setting
        chosen = values[parameter.name]
        return json.loads(str(chosen)) if parameter.values else parameter.snap(float(chosen))

    return assign(space, value)
