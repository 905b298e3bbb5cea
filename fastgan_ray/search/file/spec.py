"""SearchSpec: what a search file says, checked in every part before anything runs."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fastgan_ray.config.run_config import RunConfig, field_names, nest
from fastgan_ray.config.run_file import check_settings, explain, faults_of, settings, unknown
from fastgan_ray.config.strict_yaml import (
    Document,
    ErrorList,
    Value,
    format_value,
    parse,
    read_text,
)
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.budget import Budget, Confirm, Confirmation, read_budget, read_confirm
from fastgan_ray.search.file.early_terminate import read_early_terminate, read_population
from fastgan_ray.search.file.options import (
    KEYS,
    REFUSED,
    Method,
    Metric,
    check_keys,
    follow_protocol,
    read_description,
    read_method,
    read_metrics,
    read_name,
    read_sampler,
    read_whole,
)
from fastgan_ray.search.file.parameters import read_space
from fastgan_ray.search.pbt import Population
from fastgan_ray.search.space import (
    Parameter,
    SearchSpace,
    assign,
    default_point,
    grid,
    sample,
    size,
)
from fastgan_ray.search.stopping import Rule

__all__ = [
    "Method",
    "Metric",
    "SearchSpec",
    "base_config",
    "base_values",
    "confirmation_kimg",
    "first_point",
    "load_search",
    "longest_kimg",
    "run_config",
    "sample_configs",
    "spec_from_text",
    "start_point",
]

DEFAULT_RUN_CAP = 64
PROBES = 64
MAX_GRID = 10_000
TRIES = 256  # random points among which a listed value must find one that it goes with


@dataclass(frozen=True)
class SearchSpec:
    """A search: which configurations, how they are chosen and compared, and when it ends.

    `base` (flat dotted keys) is fixed and has the overrides in it, `space` is searched, every other
    field has its published default. `metric` is what trials are judged and stopped by, `costs` are
    further objectives. `text` and `overrides` rebuild it (`spec_from_text`).
    """

    name: str
    method: Method
    sampler: str
    metric: Metric
    costs: tuple[Metric, ...]
    run_cap: int
    budget: Budget
    early_terminate: tuple[Rule, ...]
    population: Population | None
    confirm: Confirmation
    base: dict[str, Any]
    space: SearchSpace
    seed: int
    description: str
    text: str
    overrides: dict[str, Any]


def load_search(path: str | Path, overrides: Mapping[str, Any] | None = None) -> SearchSpec:
    """The search in a YAML file; UserError with every fault of it, each with its line.

    `overrides` (flat dotted keys) replace base values and searched parameters of the same name; if
    they change the metric's protocol, the metric's name follows and its target is dropped.
    """
    return spec_from_text(read_text(path), str(path), overrides)


def spec_from_text(text: str, name: str, overrides: Mapping[str, Any] | None = None) -> SearchSpec:
    """`load_search` of a file's text; `name` is the file that messages speak of."""
    document = parse(text, name)
    overrides = dict(overrides or {})
    check_overrides(overrides)
    check_keys(document, "a search", KEYS, REFUSED)
    method = read_method(document)
    given = settings(document, ("base",)) if "base" in document.data else {}
    fixed = {key: value for key, (value, _) in given.items()}
    wrong = {key for key, _ in check_settings(document.faults, given)}
    base = RunConfig.model_validate(nest(_without(fixed, wrong)))
    length_known = "train.total_kimg" not in {*overrides, *wrong}
    space = read_space(document, method)
    entries = list(document.data["parameters"]) if space else []
    metric, *costs = read_metrics(document, base)
    length = base.train.total_kimg if length_known else None
    spec = SearchSpec(
        name=read_name(document, Path(name).stem),
        method=method,
        sampler=read_sampler(document, method, 1 + len(costs)),
        metric=metric,
        costs=tuple(costs),
        run_cap=read_whole(document, "run_cap", 1) or 0,
        budget=read_budget(document),
        early_terminate=read_early_terminate(document, length),
        population=read_population(document, length, space),
        confirm=read_confirm(document),
        base=fixed,
        space=space,
        seed=read_whole(document, "seed", 0) or 0,
        description=read_description(document),
        text=text,
        overrides=overrides,
    )
    if space and not wrong and [parameter.name for parameter in space] == entries:
        spec = _checked(_overridden(spec, document.faults), document)
        _check_budget(spec, document)
    document.faults.check()
    return spec


def base_config(spec: SearchSpec) -> RunConfig:
    """The configuration with nothing searched: published defaults under the file's base."""
    return run_config(spec, {})


def run_config(spec: SearchSpec, point: Mapping[str, Any]) -> RunConfig:
    """The configuration of one trial; UserError if the point's values do not go together."""
    try:
        return RunConfig.model_validate(nest({**spec.base, **point}))
    except ValidationError as error:
        values = ", ".join(f"{key} = {format_value(value)}" for key, value in point.items())
        rules = "; ".join(f"{key}: {rule}" for key, rule in explain(error))
        raise UserError(
            f"{spec.name}: a point of the space is no valid run: {rules} (the point: {values})"
        ) from None


def start_point(spec: SearchSpec) -> dict[str, Any]:
    """The default configuration as far as the space contains it: the first trial of a search."""
    return default_point(spec.space, base_values(spec))


def first_point(spec: SearchSpec) -> dict[str, Any]:
    """A point as the first trial has it: the default, at random where the space lacks it."""
    start, rng = start_point(spec), random.Random(spec.seed)
    return assign(spec.space, lambda p: start[p.name] if p.name in start else p.sample(rng))


def base_values(spec: SearchSpec) -> dict[str, Any]:
    """What each field is where nothing is searched, by dotted name."""
    config = base_config(spec).model_dump()
    return {name: config[name.partition(".")[0]][name.partition(".")[2]] for name in field_names()}


def sample_configs(spec: SearchSpec) -> list[RunConfig]:
    """The first trial's and some random configurations of the space."""
    rng = random.Random(0)
    points = [first_point(spec), *(sample(spec.space, rng) for _ in range(PROBES))]
    configs = []
    for point in points:
        with contextlib.suppress(UserError):  # values that do not go together: never a trial
            configs.append(run_config(spec, point))
    return configs


def longest_kimg(spec: SearchSpec) -> float:
    """The length of the longest trial that the space allows."""
    for parameter in spec.space:
        if parameter.name == "train.total_kimg":
            lengths = [value for value in parameter.values if isinstance(value, int | float)]
            return max([parameter.high, *lengths])
    return base_config(spec).train.total_kimg


def confirmation_kimg(spec: SearchSpec, top: int, seeds: int) -> float:
    """Thousands of images in a confirmation of `top` trials and the default, with `seeds` seeds."""
    return (top + 1) * seeds * longest_kimg(spec)


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """UserError, with every fault, unless these flat dotted settings are valid by themselves."""
    faults = ErrorList("--set")
    for key in overrides:
        if key not in field_names():
            faults.add(None, f"{key}: {unknown(key)}")
    for key, rule in faults_of({k: v for k, v in overrides.items() if k in field_names()}):
        if "." in key:  # a section's rule may hold with the file's values
            faults.add(None, f"{key}: {rule}")
    faults.check()


def _without(fixed: dict[str, Any], wrong: set[str]) -> dict[str, Any]:
    """`fixed` less the keys, and the keys of the sections, that are at fault."""
    return {
        key: value
        for key, value in fixed.items()
        if not any(fault == key or fault.startswith(f"{key}.") for fault in wrong)
        and key.partition(".")[0] not in wrong
    }


def _overridden(spec: SearchSpec, faults: ErrorList) -> SearchSpec:
    """`spec` with its overrides in base and, as constants, in the space where it names them."""
    given = spec.overrides
    base = {**spec.base, **given}
    if wrong := faults_of(base):
        for key, rule in wrong:
            faults.add(None, f"with what --set changes: {key}: {rule}")
        return spec
    parameters = tuple(
        Parameter(parameter.name, "constant", (given[parameter.name],))
        if parameter.name in given
        else parameter
        for parameter in spec.space
    )
    before, after = base_config(spec).eval, RunConfig.model_validate(nest(base)).eval
    return replace(
        spec,
        base=base,
        space=SearchSpace(parameters),
        metric=follow_protocol(spec.metric, before, after),
        costs=tuple(follow_protocol(cost, before, after) for cost in spec.costs),
    )


def _checked(spec: SearchSpec, document: Document) -> SearchSpec:
    """`spec` with its run cap settled, after trying points of the space on the whole schema."""
    count = size(spec.space)
    line = document.line("parameters")
    if spec.method == "grid":
        if count is None or count > MAX_GRID:
            rule = f"a grid may have at most {MAX_GRID} points (got {count}); use method random"
            document.faults.add(line, f"parameters: {rule}")
            return spec
        for point in grid(spec.space):
            try:
                run_config(spec, point)
            except UserError as error:
                document.faults.add(line, f"parameters: {error}; a `when` can leave it out")
                break
        return replace(spec, run_cap=min(spec.run_cap or count, count))
    _try_values(spec, document)
    return replace(spec, run_cap=spec.run_cap or DEFAULT_RUN_CAP)


def _check_budget(spec: SearchSpec, document: Document) -> None:
    """Note a budget in which not one trial fits beside the confirmation that the file asks for."""
    if spec.budget.kimg is None:
        return
    longest, kept, beside = longest_kimg(spec), 0.0, ""
    if isinstance(spec.confirm, Confirm):
        kept = confirmation_kimg(spec, spec.confirm.top, spec.confirm.seeds)
        beside = f" beside the confirmation's {kept:g}"
    if spec.budget.kimg < longest + kept:
        rule = f"must be enough for a trial of {longest:g} kimg{beside}"
        text = f"budget.kimg: {rule} (got {spec.budget.kimg:g})"
        document.faults.add(document.line("budget", "kimg"), text)


def _try_values(spec: SearchSpec, document: Document) -> None:
    """Note each listed value that no point goes with; if no point is valid, the whole space."""
    if rule := _always_wrong(spec, spec.space):
        named = [p.name for p in spec.space if p.name.rpartition(".")[2] in rule]
        text = f"{(named or ['parameters'])[0]}: no point of the space is a valid run: {rule}"
        document.faults.add(document.line("parameters", *named[:1]), text)
        return
    for parameter in spec.space:
        for value in parameter.values:
            if rule := _always_wrong(spec, _narrowed(spec.space, {parameter.name: (value,)})):
                text = f"{parameter.name}: {format_value(value)} never makes a valid run: {rule}"
                document.faults.add(document.line("parameters", parameter.name, "values"), text)


def _always_wrong(spec: SearchSpec, space: SearchSpace) -> str:
    """The rule against which random points of `space` go, or nothing if one is valid."""
    rng = random.Random(0)
    rule = ""
    for _ in range(TRIES):
        wrong = faults_of({**spec.base, **sample(space, rng)})
        if not wrong:
            return ""
        rule = ": ".join(wrong[0])
    return rule


def _narrowed(space: SearchSpace, values: dict[str, tuple[Value, ...]]) -> SearchSpace:
    """`space` with only these values of some parameters, which always take part in it."""
    parameters = []
    for parameter in reversed(space.parameters):
        if parameter.name in values:
            for parent, wanted in parameter.when:
                values.setdefault(parent, wanted)
            parameter = Parameter(parameter.name, "categorical", values[parameter.name])
        parameters.append(parameter)
    return SearchSpace(tuple(reversed(parameters)))
