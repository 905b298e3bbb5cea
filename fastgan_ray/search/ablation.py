"""An ablation: named arms, each trained on every data set with every seed, beside a baseline.

The file is a search's with `baseline`, `seeds`, `arms` and, for several data sets, `data` in place
of `parameters`; nothing is sampled and nothing is stopped early.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from fastgan_ray.config.run_config import RunConfig, nest
from fastgan_ray.config.run_file import check_settings, faults_of, settings
from fastgan_ray.config.strict_yaml import (
    Document,
    ErrorList,
    format_value,
    parse,
    read_text,
    suggestion,
)
from fastgan_ray.errors import UserError
from fastgan_ray.search.file.options import (
    REFUSED_OF_WANDB,
    Metric,
    check_keys,
    follow_protocol,
    read_description,
    read_metric,
    read_name,
)
from fastgan_ray.search.file.parameters import is_int
from fastgan_ray.search.file.spec import check_overrides

KEYS = ("name", "description", "metric", "base", "baseline", "arms", "data", "seeds")
REFUSED = {
    **REFUSED_OF_WANDB,
    "method": "an ablation samples nothing",
    "parameters": "it belongs to a search; an ablation has arms",
    "run_cap": "an ablation runs every arm with every seed",
    "early_terminate": "an ablation stops nothing early: every arm has the same chance",
    "seed": "an ablation has seeds, a list or a count",
}
OWN_BASELINE = "baseline"  # the name of an arm that `baseline` itself describes
# Fields that the ablation sets itself, and where.
SET_BY = {"train.seed": "seeds", "data.path": "data"}
# These change what the metric is measured against, so that arms would not compare.
SAME_FOR_ALL = ("data.fit", "data.background", "data.on_bad_image")
LONGEST_NAME = 60
MAX_CELLS = 10_000

Given: TypeAlias = dict[str, tuple[Any, int | None]]  # value and line by dotted key


@dataclass(frozen=True)
class AblationSpec:
    """Arms (their settings by name, flat dotted keys over `base`), data sets and seeds.

    `base` has the overrides in it, and no arm has a key of theirs. A data set None is not named
    yet. `text`, `overrides` and `seeds` rebuild it (`ablation_from_text`).
    """

    name: str
    metric: Metric
    base: dict[str, Any]
    baseline: str
    arms: dict[str, dict[str, Any]]
    data: tuple[str | None, ...]
    seeds: tuple[int, ...]
    description: str
    text: str
    overrides: dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One training of an ablation."""

    arm: str
    data: str | None
    seed: int


def holds_ablation(path: str | Path) -> bool:
    """Whether a YAML file has arms, so that it is no search."""
    return "arms" in parse(read_text(path), str(path)).data


def load_ablation(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> AblationSpec:
    """The ablation in a YAML file; UserError with every fault of it, each with its line.

    `overrides` (flat dotted keys) replace what base and arms say, `data.path` all data sets, and
    `seeds` the file's; if the metric's protocol changes, its name follows.
    """
    return ablation_from_text(read_text(path), str(path), overrides, seeds)


def ablation_from_text(
    text: str,
    name: str,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> AblationSpec:
    """`load_ablation` of a file's text; `name` is the file that messages speak of."""
    document = parse(text, name)
    overrides = dict(overrides or {})
    check_overrides(overrides)
    if "train.seed" in overrides:
        raise UserError("--set: train.seed: is set by seeds; use --seeds")
    check_keys(document, "an ablation", KEYS, REFUSED)
    base = settings(document, ("base",)) if "base" in document.data else {}
    wrong = check_settings(document.faults, base)
    if "train.seed" in base:
        document.faults.add(base["train.seed"][1], "train.seed: is set by seeds; leave it out")
    arms, baseline = _read_arms(document, base)
    spec = AblationSpec(
        name=read_name(document, Path(name).stem),
        metric=read_metric(document, _config({} if wrong else _values(base))),
        base=_values(base),
        baseline=baseline,
        arms={arm: _values(given) for arm, given in arms.items()},
        data=_read_data(document, base),
        seeds=tuple(seeds) if seeds is not None else _read_seeds(document),
        description=read_description(document),
        text=text,
        overrides=overrides,
    )
    if spec.metric.target is not None:
        document.faults.add(document.line("metric", "target"), "metric.target: is for a search")
    document.faults.check()
    return _checked(_overridden(spec, document.faults), document)


def cells(spec: AblationSpec) -> list[Cell]:
    """Every training in the order in which they start: a whole ablation with one seed first."""
    return [
        Cell(arm, data, seed)
        for seed, data, arm in itertools.product(spec.seeds, spec.data, spec.arms)
    ]


def cell_config(spec: AblationSpec, cell: Cell) -> RunConfig:
    """The configuration of one training."""
    own = {"data.path": cell.data, "train.seed": cell.seed}
    return _config({**spec.base, **spec.arms[cell.arm], **own})


def arm_config(spec: AblationSpec, arm: str) -> RunConfig:
    """An arm's configuration with the first data set and the first seed."""
    return cell_config(spec, Cell(arm, spec.data[0], spec.seeds[0]))


def data_name(data: str | None) -> str:
    """A data set as tables call it: the last part of its path."""
    return "" if data is None else Path(data).name or data


def parse_seeds(text: str) -> list[int]:
    """Of `--seeds`: "3" to [0, 1, 2], a count as in a file; "0-2,7" and "7," to the seeds named."""
    if re.fullmatch(r"\s*[0-9]{1,4}\s*", text) and int(text) > 0:
        return list(range(int(text)))
    seeds: list[int] = []
    for part in text.removesuffix(",").split(",") if re.search(r"[-,]", text) else [""]:
        found = re.fullmatch(r"\s*([0-9]{1,10})(?:-([0-9]{1,10}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        twice = any(first <= seed <= last for seed in seeds)
        if not first <= last < 2**31 or last - first >= MAX_CELLS or twice:
            rule = "must be a count, or different seeds and ranges such as 0-2,7"
            raise UserError(f"--seeds: {rule} (got {format_value(text)})")
        seeds.extend(range(first, last + 1))
    return seeds


def _config(flat: Mapping[str, Any]) -> RunConfig:
    return RunConfig.model_validate(nest(dict(flat)))


def _values(given: Given) -> dict[str, Any]:
    return {key: value for key, (value, _) in given.items()}


def _read_arms(document: Document, base: Given) -> tuple[dict[str, Given], str]:
    """The arms, the baseline among them, and the baseline's name; each arm a valid run on base."""
    entries = document.data.get("arms")
    if not isinstance(entries, dict) or not entries:
        rule = "must map names to settings, as `no noise: {model.g_noise: false}`"
        document.faults.add(document.line("arms"), f"arms: {rule}")
        entries = {}
    arms: dict[str, Given] = {}
    baseline = document.data.get("baseline")
    if isinstance(baseline, dict):
        if OWN_BASELINE in entries:
            rule = f"has settings of its own, and arms has one named {OWN_BASELINE}, too"
            document.faults.add(document.line("baseline"), f"baseline: {rule}")
        arms[OWN_BASELINE] = settings(document, ("baseline",))
        baseline = OWN_BASELINE
    elif not isinstance(baseline, str) or (entries and baseline not in entries):
        hint = suggestion(baseline, entries) if isinstance(baseline, str) else ""
        rule = "must name an arm, or be settings; {} = base itself "
        rule += f"(got {format_value(baseline)}){hint}"
        document.faults.add(document.line("baseline"), f"baseline: {rule}")
    for name in entries:
        arms[name] = settings(document, ("arms", name))
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            rule = f"an arm's name must be 1 to {LONGEST_NAME} characters of one line"
            document.faults.add(
                document.line("arms", name), f"arms: {rule} (got {format_value(name)})"
            )
    if len(arms) == 1:
        document.faults.add(document.line("arms"), "arms: must have one beside the baseline")
    for name, given in arms.items():
        _refuse_fixed(name, given, document.faults)
        check_settings(document.faults, {**base, **given})
    return arms, str(baseline)


def _refuse_fixed(arm: str, given: Given, faults: ErrorList) -> None:
    """Note fields that an arm must leave alone."""
    for key, (_, line) in given.items():
        if key in SET_BY:
            faults.add(line, f"arm {arm}: {key}: is set by {SET_BY[key]}; leave it out here")
        elif key.startswith("eval.") or key in SAME_FOR_ALL:
            rule = "must be the same for all arms, or they do not compare; set it in base"
            faults.add(line, f"arm {arm}: {key}: {rule}")


def _read_data(document: Document, base: Given) -> tuple[str | None, ...]:
    """The data sets; without `data` the one that base names, if it does."""
    path = base["data.path"][0] if "data.path" in base else None
    if "data" not in document.data:
        return (path,)
    given = document.data["data"]
    if path is not None:
        rule = "names the data sets, and base's data.path names another; leave one out"
        document.faults.add(document.line("data"), f"data: {rule}")
    valid = isinstance(given, list) and given and all(isinstance(x, str) and x for x in given)
    if not valid or len({data_name(entry) for entry in given}) < len(given):
        rule = "must be a list of folders or data sets' names that end differently"
        document.faults.add(document.line("data"), f"data: {rule} (got {format_value(given)})")
        return (None,)
    return tuple(given)


def _read_seeds(document: Document) -> tuple[int, ...]:
    given = document.data.get("seeds")
    if is_int(given) and 1 <= given <= MAX_CELLS:
        return tuple(range(given))
    whole = isinstance(given, list) and all(is_int(seed) and 0 <= seed < 2**31 for seed in given)
    if isinstance(given, list) and given and whole and len(set(given)) == len(given):
        return tuple(given)
    rule = "must be a count (5 = 0, 1, 2, 3, 4) or a list of different seeds from 0 to 2**31 - 1"
    document.faults.add(document.line("seeds"), f"seeds: {rule} (got {format_value(given)})")
    return (0,)


def _overridden(spec: AblationSpec, faults: ErrorList) -> AblationSpec:
    """`spec` with its overrides in base, and out of the arms."""
    given = {key: value for key, value in spec.overrides.items() if key != "data.path"}
    base = {**spec.base, **given}
    arms = {
        name: {key: value for key, value in arm.items() if key not in given}
        for name, arm in spec.arms.items()
    }
    for name, arm in arms.items():
        for key, rule in faults_of({**base, **arm}):
            faults.add(None, f"arm {name}, with what --set changes: {key}: {rule}")
    faults.check()
    data = (spec.overrides["data.path"],) if "data.path" in spec.overrides else spec.data
    metric = follow_protocol(spec.metric, _config(spec.base).eval, _config(base).eval)
    return replace(spec, base=base, arms=arms, data=data, metric=metric)


def _checked(spec: AblationSpec, document: Document) -> AblationSpec:
    """`spec`, if its arms differ and are not too many."""
    count = len(spec.arms) * len(spec.data) * len(spec.seeds)
    if count > MAX_CELLS:
        rule = f"arms x data sets x seeds must be at most {MAX_CELLS} trainings (got {count})"
        document.faults.add(document.line("arms"), f"arms: {rule}")
    configs = {arm: arm_config(spec, arm) for arm in spec.arms}
    for one, other in itertools.combinations(configs, 2):
        if configs[one] == configs[other]:
            line = document.line("arms", other)
            rule = f"is the same configuration as {one}"
            if spec.overrides:
                rule += " with what --set, --data and --embedded change"
            document.faults.add(line, f"arms: {other}: {rule}")
    document.faults.check()
    return spec
