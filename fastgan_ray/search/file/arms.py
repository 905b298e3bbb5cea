"""The keys `base`, `arms`, `baseline`, `data` and `seeds` of an ablation file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import PlainValidator, ValidationInfo

from fastgan_ray.config.messages import format_value, suggestion
from fastgan_ray.config.rules import Violation, broken, combine
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.search.ablation import MAX_CELLS, OWN_BASELINE, data_name
from fastgan_ray.search.file.section import FileContext, context_of, read_each
from fastgan_ray.search.file.settings import read_fragment

# Settings that the ablation itself sets -> the key of the file that has their values.
SET_BY = {"train.seed": "seeds", "data.path": "data"}
# These settings affect how the metric is measured, so they must be the same for all arms.
SAME_FOR_ALL = (
    "data.fit",
    "data.mode",
    "data.background",
    "data.on_bad_image",
    "data.boxes",
    "data.padding",
    "model.aspect",
)
LONGEST_NAME = 60

Flat: TypeAlias = dict[str, Any]


def _read_base(value: object) -> Flat:
    base = read_fragment(value)
    violations = check_settings(base)
    if "train.seed" in base:
        rule = "is set by the key `seeds`; remove train.seed from base"
        violations.append(Violation(("train", "seed"), rule))
    if violations:
        raise combine(violations)
    return base


def _read_arms(value: object, info: ValidationInfo) -> dict[str, Flat]:
    context = context_of(info)
    if not isinstance(value, dict) or not value:
        raise broken(
            "must be a mapping from names of arms to settings, such as `no noise: "
            "{model.g_noise: false}`"
        )
    return read_each(value, lambda name, entry: _read_arm(name, entry, context))


def _read_arm(name: str, entry: object, context: FileContext) -> Flat:
    """Read the settings `entry` of the arm `name`, and check them together with `base`.

    Raise an error if the resulting run is not valid, or if the arm changes a setting that must be
    the same for all arms.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        rule = f"the name of an arm must have 1 to {LONGEST_NAME} printable characters"
        raise broken(f"{rule} (got {format_value(name)})")
    arm = read_fragment(entry)
    violations = [*_fixed(arm), *check_settings({**context.base, **arm})]
    if violations:
        raise combine(violations)
    return arm


def _fixed(arm: Mapping[str, Any]) -> list[Violation]:
    """Return a violation for each setting in `arm` that an arm must not change."""
    violations = []
    for key in arm:
        if key in SET_BY:
            rule = f"is set by the key `{SET_BY[key]}`; remove {key} from this arm"
        elif key.startswith("eval.") or key in SAME_FOR_ALL:
            rule = (
                "must be the same for all arms, because otherwise the arms cannot be compared; "
                "set it in base"
            )
        else:
            continue
        violations.append(Violation(tuple(key.split(".")), rule))
    return violations


def _read_baseline(value: object, info: ValidationInfo) -> str | Flat:
    """Read the baseline: either the name of an arm, or settings of an additional arm.

    Raise an error if the baseline is the name of the only arm.
    """
    context = context_of(info)
    names = context.arms
    if isinstance(value, dict):
        if OWN_BASELINE in names:
            raise broken(
                "cannot be a mapping of settings, because arms already has an arm with the name "
                f"{OWN_BASELINE}; rename that arm"
            )
        return _read_arm(OWN_BASELINE, value, context)
    if not isinstance(value, str) or (names and value not in names):
        quoted = f"; write the name in quotes: '{value}'" if str(value) in names else ""
        hint = suggestion(value, names) if isinstance(value, str) else quoted
        rule = "must be the name of an arm, or a mapping of settings ({} = the settings of base)"
        raise broken(f"{rule} (got {format_value(value)}){hint}")
    if names == [value]:
        raise broken("is the only arm; add another arm to compare with it")
    return value


def _read_data(value: object, info: ValidationInfo) -> tuple[str, ...]:
    context = context_of(info)
    violations = []
    if "data.path" in context.base:
        rule = "lists data sets, but base already has data.path; remove one of the two"
        violations.append(Violation((), rule))
    names = [x for x in value if isinstance(x, str) and x] if isinstance(value, list) else []
    if not names or names != value or len({data_name(name) for name in names}) < len(names):
        rule = (
            "must be a list of different data sets (folders or names); the last part of each "
            "path must be different"
        )
        violations.append(Violation((), f"{rule} (got {format_value(value)})"))
    if violations:
        raise combine(violations)
    return tuple(names)


def _read_seeds(value: object) -> tuple[int, ...]:
    if type(value) is int and 1 <= value <= MAX_CELLS:
        return tuple(range(value))
    if isinstance(value, list) and value:
        seeds = [seed for seed in value if type(seed) is int and 0 <= seed < 2**31]
        if len(seeds) == len(value) == len(set(seeds)):
            return tuple(seeds)
    rule = (
        "must be the number of seeds (5 = seeds 0, 1, 2, 3, 4), or a list of different "
        "seeds from 0 to 2**31 - 1, such as [0, 1, 7]"
    )
    raise broken(f"{rule} (got {format_value(value)})")


AblationBase: TypeAlias = Annotated[
    Flat, PlainValidator(_read_base, json_schema_input_type=RunConfig | None)
]
Arms: TypeAlias = Annotated[
    dict[str, Flat], PlainValidator(_read_arms, json_schema_input_type=dict[str, RunConfig | None])
]
Baseline: TypeAlias = Annotated[
    str | Flat, PlainValidator(_read_baseline, json_schema_input_type=str | RunConfig)
]
DataSets: TypeAlias = Annotated[
    tuple[str, ...], PlainValidator(_read_data, json_schema_input_type=list[str])
]
Seeds: TypeAlias = Annotated[
    tuple[int, ...], PlainValidator(_read_seeds, json_schema_input_type=int | list[int])
]
