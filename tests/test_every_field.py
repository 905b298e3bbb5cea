"""Every field of RunConfig can stand in a search file in every form, and in an ablation.

Each form goes through what `check`, `tune` and `ablate` do before the first trial; it ends well or
in a UserError that names the field.
"""

from __future__ import annotations

import io
import json
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from annotated_types import Ge, Gt, Le, Lt
from rich.console import Console

from fastgan_ray.cli.plan import print_facts
from fastgan_ray.config.run_config import RunConfig, field_names, flatten
from fastgan_ray.config.scheduled import ScheduledSection
from fastgan_ray.errors import UserError
from fastgan_ray.search.ablation import arm_config
from fastgan_ray.search.confirmation import plan_confirmation
from fastgan_ray.search.cost.plan import ablation_facts, search_facts
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.file.spec import base_config, longest_kimg, sample_configs
from fastgan_ray.tune.ray.resources import (
    check_feasible,
    check_memory,
    max_concurrent,
    request,
)
from fastgan_ray.tune.storage import disk

BASE: dict[str, Any] = {
    "data": {"path": "matcaps"},
    "model": {"resolution": 64, "ngf": 4, "ndf": 4},
    "train": {"total_kimg": 2, "reconstruction": "l1"},
    "eval": {"extractor": "efficientnet_lite0", "num_fakes": 64, "every_kimg": 1},
}
NODES = [{"CPU": 64.0, "GPU": 4.0, "memory": 64e9}]
# Values of the fields whose type alone does not say what is allowed.
VALUES: dict[str, list[Any]] = {
    "data.path": ["matcaps", "fluent-heads"],
    "train.init_from": ["runs/heads", "heads.pth"],
    "data.limit": [3, 0.5],
    "data.boxes": ["boxes.csv", "other.csv"],
    "eval.data": ["fluent-heads", "heads"],
    "data.background": ["#000000", "#FFffff"],
    "augment.policy": ["", "color,bgc"],
    "model.resolution": [32, 64],
    "model.g_channels": [[8, 8, 4, 4, 2], [4, 4, 4, 4, 4]],
    "model.d_channels": [[8, 8, 4, 4], [4, 4, 4, 4]],
    "model.architecture": ["fastgan", "dcgan", "sngan", "stylegan2"],
    "model.aspect": ["1:1", "2:3"],
}


def field_info(name: str) -> Any:
    section, _, leaf = name.partition(".")
    return RunConfig.model_fields[section].annotation.model_fields[leaf]


def bounds(name: str) -> tuple[float, float]:
    """Two values inside the field's limits, the published default's neighbourhood."""
    low, high = 1.0, 8.0
    for limit in field_info(name).metadata:
        if isinstance(limit, Ge):
            low = max(low, limit.ge)
        elif isinstance(limit, Gt):
            low = max(low, limit.gt + 0.001)
        elif isinstance(limit, Le):
            high = min(high, limit.le)
        elif isinstance(limit, Lt):
            high = min(high, limit.lt - 0.001)
    return (low, high) if low < high else (high / 2, high)


def values(name: str) -> list[Any]:
    annotation = field_info(name).annotation
    if name in VALUES:
        return VALUES[name]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if annotation is bool:
        return [True, False]
    low, high = bounds(name)
    whole = annotation is int or int in get_args(annotation)
    return [int(low), int(high)] if whole else [low, high]


def schedules(name: str) -> list[dict[str, Any]]:
    """The field as a schedule, if it may be one."""
    section, _, leaf = name.partition(".")
    model = RunConfig.model_fields[section].annotation
    if not (isinstance(model, type) and issubclass(model, ScheduledSection)):
        return []
    ends = dict(zip(("from", "to"), bounds(name), strict=True))
    return [ends | {"over_kimg": 1, "shape": "cosine"}] if model.can_be_scheduled(leaf) else []


def ranges(name: str) -> list[dict[str, Any]]:
    """The field as a range, in each distribution, if it is a number."""
    annotation = field_info(name).annotation
    if not {int, float} & {annotation, *get_args(annotation)} or name in VALUES:
        return []
    low, high = values(name)
    whole = isinstance(low, int)
    if whole:
        return [
            {"min": low, "max": high},
            {"distribution": "int_uniform", "min": low, "max": high},
            {"distribution": "q_uniform", "q": 1, "min": low, "max": high},
        ]
    names = ["uniform", "log_uniform_values"]
    return [
        {"min": low, "max": high},
        *({"distribution": name, "min": low, "max": high} for name in names),
        {"distribution": "q_uniform", "q": (high - low) / 4, "min": low, "max": high},
    ]


def forms(name: str) -> list[dict[str, Any]]:
    """`parameters` with the field in each form."""
    other = "model.nz" if name != "model.nz" else "model.ngf"
    parent, choice = {"train.beta1": {"values": [0.0, 0.5]}}, {"train.beta1": 0.5}
    if name == "train.beta1":
        parent, choice = {"train.beta2": {"values": [0.9, 0.99]}}, {"train.beta2": 0.9}
    listed = [*values(name), *schedules(name)]
    return [
        {name: {"values": listed}},
        {name: {"value": listed[0]}, other: {"values": [4, 8]}},
        *({name: entry} for entry in ranges(name)),
        {**parent, name: {"values": listed, "when": choice}},
        *({**parent, name: {**entry, "when": choice}} for entry in ranges(name)[:1]),
        {name: {"values": listed}, other: {"values": [4, 8], "when": {name: listed[0]}}},
    ]


def prepare(text: str) -> None:
    """What `check` and `tune` do with a search file before the first trial."""
    spec = spec_from_text(text, "search.yaml")
    facts = search_facts(spec)
    json.dumps(facts)
    print_facts(facts, Console(file=io.StringIO()))
    assert longest_kimg(spec) > 0 and plan_confirmation(spec)
    likely = sample_configs(spec)
    assert likely and base_config(spec)
    prepare_resources(likely)


def prepare_resources(configs: list[RunConfig]) -> None:
    requests = [request(config, NODES) for config in configs]
    check_feasible(requests, NODES)
    assert max_concurrent(requests, NODES) >= 1
    check_memory(configs, NODES)
    assert disk.trials_within(1000.0, configs, 0) >= 1


@pytest.mark.parametrize("name", field_names())
def test_a_field_in_every_form_of_a_search(name):
    for parameters in forms(name):
        document = {
            "method": "random",
            "run_cap": 4,
            "metric": {"name": "fd_efficientnet_lite0", "goal": "minimize"},
            "base": {key: value for key, value in flatten(BASE).items() if key not in parameters},
            "parameters": parameters,
        }
        try:
            prepare(yaml.safe_dump(document))
        except UserError as error:
            assert name in str(error) or name.partition(".")[2] in str(error), parameters


@pytest.mark.parametrize("name", field_names())
def test_a_field_as_the_arms_of_an_ablation(name):
    default = flatten(RunConfig.model_validate(BASE).model_dump())[name]
    others = [value for value in [*values(name), *schedules(name)] if value != default]
    arms = {f"arm {index}": {name: value} for index, value in enumerate(others)}
    document = {
        "metric": {"name": "fd_efficientnet_lite0", "goal": "minimize"},
        "base": BASE,
        "seeds": 2,
        "baseline": {},
        "arms": arms,
    }
    try:
        spec = ablation_from_text(yaml.safe_dump(document), "ablation.yaml")
        facts = ablation_facts(spec)
        json.dumps(facts)
        print_facts(facts, Console(file=io.StringIO()))
        prepare_resources([arm_config(spec, arm) for arm in spec.arms])
    except UserError as error:
        assert name in str(error) or name.partition(".")[2] in str(error)
