"""SearchSpec, a checked search file; the settings of a trial, and the published default."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastgan_ray.config.messages import format_value
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.budget import Budget, Confirm, Confirmation
from fastgan_ray.search.file.early_terminate import Rule
from fastgan_ray.search.file.lengths import longest_trial
from fastgan_ray.search.file.method import Method
from fastgan_ray.search.file.metric import Metric, metric_setting
from fastgan_ray.search.file.population import Population
from fastgan_ray.search.space import SearchSpace, assign, default_point, same, sample, size

SAMPLES = 64
DEFAULT = "published default"  # the name of the default in messages and tables


@dataclass(frozen=True)
class SearchSpec:
    """A search: its space, how it chooses and compares trials, and when it ends.

    `run_cap` is the largest number of trials; `seeds` is the largest number for one configuration.
    `base` (flat dotted keys) has the settings that all trials share, with the overrides applied.
    `space` has the searched parameters. Every other setting has its published default. `metric`
    compares trials and is used for early stopping; `costs` are further objectives. `spec_from_text`
    can make the same SearchSpec again from `text` and `overrides`.
    """

    name: str
    method: Method
    sampler: str
    metric: Metric
    costs: tuple[Metric, ...]
    run_cap: int
    seeds: int
    budget: Budget
    early_terminate: tuple[Rule, ...]
    population: Population | None
    confirm: Confirmation
    knowledge: bool
    base: dict[str, Any]
    space: SearchSpace
    seed: int
    description: str
    text: str
    overrides: dict[str, Any]


def base_config(spec: SearchSpec) -> RunConfig:
    """Return the configuration of `base` alone; searched parameters have their defaults."""
    return run_config(spec, {})


def run_config(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of a trial; `point` has the values of the searched parameters.

    If the search trains configurations with several seeds, `point` also has the value of
    train.seed. Raise UserError if the configuration is not valid.
    """
    settings = {**spec.base, **point, **metric_setting(spec.metric, spec.base)}
    if violations := check_settings(settings):
        values = ", ".join(f"{key} = {format_value(value)}" for key, value in point.items())
        rules = "; ".join(f"{violation.key}: {violation.rule}" for violation in violations)
        raise UserError(f"{spec.name}: the combination {values} is not a valid run: {rules}")
    return RunConfig.model_validate(settings)


def base_settings(spec: SearchSpec) -> dict[str, Any]:
    """Return {dotted name: value} for all settings of `base_config`."""
    return flatten(base_config(spec).model_dump())


def start_point(spec: SearchSpec) -> dict[str, Any]:
    """Return the point of the search space that is nearest to the settings of `base`.

    Settings that are not in `base` have their defaults.
    """
    return default_point(spec.space, base_settings(spec))


def substitutes(spec: SearchSpec) -> dict[str, tuple[Any, Any]]:
    """Return the parameters whose number in `start_point` differs from their default.

    The result is {name: (default, number in `start_point`)}. Parameters with a single possible
    value are left out.
    """
    defaults, start = base_settings(spec), start_point(spec)
    return {
        parameter.name: (defaults[parameter.name], start[parameter.name])
        for parameter in spec.space
        if parameter.size != 1
        and parameter.name in start
        and not same(start[parameter.name], defaults[parameter.name])
    }


def trial_count(spec: SearchSpec) -> int:
    """Return the largest number of trials.

    This is `run_cap`, or the number of points times `seeds` if this is lower.
    """
    points = size(spec.space)
    return spec.run_cap if points is None else min(spec.run_cap, points * spec.seeds)


def first_trial_point(spec: SearchSpec) -> dict[str, Any]:
    """Return a possible point of the search's first trial.

    Each parameter has its default. If the default is not in the search space, the parameter has the
    possible number that is nearest to the default. If there is no such number, it has a random
    value.
    """
    start, rng = start_point(spec), random.Random(spec.seed)
    return assign(spec.space, lambda p: start[p.name] if p.name in start else p.sample(rng))


def sample_configs(spec: SearchSpec) -> list[RunConfig]:
    """Return the configurations of the first trial and of some random points; skip invalid ones."""
    rng = random.Random(0)
    points = [first_trial_point(spec), *(sample(spec.space, rng) for _ in range(SAMPLES))]
    configs = []
    for point in points:
        with contextlib.suppress(UserError):  # the point is not a valid run
            configs.append(run_config(spec, point))
    return configs


def longest_kimg(spec: SearchSpec) -> float:
    """Return the length, in kimg, of the longest trial that the search space allows."""
    return longest_trial(spec.space, base_config(spec).train.total_kimg)


def confirmation_kimg(spec: SearchSpec, top: int, seeds: int) -> float:
    """Return the kimg that a confirmation takes at most.

    The confirmation trains the `top` best trials and the default, each with at most `seeds` seeds.
    """
    return Confirm(top=top, seeds=seeds).kimg(longest_kimg(spec))
