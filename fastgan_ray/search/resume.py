"""Decide whether a search or an ablation can be resumed after its file or options have changed.

The parsed files are compared, so comments and other spellings of a value make no difference. More
trials, more seeds, more time, a longer confirmation and other resources are allowed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastgan_ray.config.run_config import flatten
from fastgan_ray.search.ablation import AblationSpec, arm_config
from fastgan_ray.search.file.spec import SearchSpec, base_settings
from fastgan_ray.search.space import Parameter

# Settings, and sections such as "resources.", that may change, because they affect results only by
# rounding. Pictures are compared by their content, not by their path.
MAY_CHANGE = (
    "data.path",
    "data.on_bad_image",
    "train.log_every_kimg",
    "train.device",
    "train.cuda_graphs",
    "train.gradient_checkpointing",
    "resources.",
)
_NOT_SET = object()
_KEYS = {"low": "min", "high": "max"}  # fields of a parameter, and its keys in the file


def search_changes(before: SearchSpec, now: SearchSpec, same_pictures: bool) -> list[str]:
    """Return a text (see `changes`) for each change that makes it impossible to resume a search.

    `before` is the search as it started, `now` the search as it would be resumed. `same_pictures`
    is True if the caller has found that the pictures are equal. In this case, their path may
    change.
    """
    texts = changes(_search_settings(before), _search_settings(now))
    if now.budget and not before.budget:  # without a budget, the search did not count its use
        texts += changes({}, {"budget": now.budget.facts()})
    if not same_pictures:
        texts += _other_paths(before.base.get("data.path"), now.base.get("data.path"))
    return texts


def ablation_changes(before: AblationSpec, now: AblationSpec, same_pictures: bool) -> list[str]:
    """Return a text (see `changes`) for each change that makes it impossible to resume an ablation.

    The arguments are as in `search_changes`. New seeds may be added after the old seeds.
    """
    texts = changes(_ablation_settings(before), _ablation_settings(now))
    if now.seeds[: len(before.seeds)] != before.seeds:
        texts += changes({"seeds": list(before.seeds)}, {"seeds": list(now.seeds)})
    if len(before.data) != len(now.data):
        texts += changes({"data": list(before.data)}, {"data": list(now.data)})
    elif not same_pictures:
        for path, new_path in zip(before.data, now.data, strict=True):
            texts += _other_paths(path, new_path)
    return texts


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a text for each key whose value has changed, e.g. "seed: 0 then, 1 now"."""
    keys = dict.fromkeys([*before, *now])
    return [
        f"{key}: {_shown(before, key)} then, {_shown(now, key)} now"
        for key in keys
        if before.get(key, _NOT_SET) != now.get(key, _NOT_SET)
    ]


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key], default=str) if key in settings else "not set"


def _search_settings(spec: SearchSpec) -> dict[str, Any]:
    """Return everything in `spec` that must not change before a search is resumed.

    The result maps keys of the file, such as "method", and dotted names of settings to values.
    """
    metrics = [metric.model_dump(exclude_none=True) for metric in (spec.metric, *spec.costs)]
    searched = {parameter.name: _described(parameter) for parameter in spec.space}
    base = base_settings(spec)
    return {
        "method": spec.method,
        "sampler": spec.sampler,
        "seed": spec.seed,
        "metric": metrics if spec.costs else metrics[0],
        "early_terminate": [rule.model_dump(exclude_none=True) for rule in spec.early_terminate],
        "population": spec.population and spec.population.model_dump(),
        "parameters": list(searched),
        **searched,
        **{name: base[name] for name in base if name not in searched and _is_fixed(name)},
    }


def _ablation_settings(spec: AblationSpec) -> dict[str, Any]:
    """Return everything in `spec` that must not change before an ablation is resumed.

    The result maps keys of the file, such as "metric", and dotted names of settings to values. If
    the arms have different values of a setting, the result has {arm: value} for this setting.
    """
    arms = {arm: flatten(arm_config(spec, arm).model_dump()) for arm in spec.arms}
    settings: dict[str, Any] = {
        "metric": spec.metric.model_dump(exclude_none=True),
        "compare": spec.compare,
        "baseline": spec.baseline,
        "arms": list(arms),
    }
    for name in arms[spec.baseline]:
        values = {arm: config[name] for arm, config in arms.items()}
        first = values[spec.baseline]
        if _is_fixed(name) and name != "train.seed":
            settings[name] = first if all(v == first for v in values.values()) else values
    return settings


def _described(parameter: Parameter) -> dict[str, Any]:
    """Return the fields of `parameter` that do not have their default values.

    The result maps the key of each field in the file, such as "min", to the field's value. The
    field `name` is left out.
    """
    return {
        _KEYS.get(field.name, field.name): value
        for field in dataclasses.fields(parameter)
        if (value := getattr(parameter, field.name)) != field.default and field.name != "name"
    }


def _is_fixed(name: str) -> bool:
    return not name.startswith(MAY_CHANGE)


def _other_paths(before: str | None, now: str | None) -> list[str]:
    """Return [] if `before` and `now`, values of `data.path`, are equal or lead to the same place.

    Otherwise, return a list with one text (see `changes`).
    """
    if before and now and Path(before).resolve() == Path(now).resolve():
        return []
    return changes({"data.path": before}, {"data.path": now})
