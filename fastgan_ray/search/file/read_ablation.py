"""Read an ablation file: text -> strict YAML -> checked model -> AblationSpec."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastgan_ray.config.file_kinds import require_kind
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.config.strict_yaml import Document, parse, read_text
from fastgan_ray.counting import counted
from fastgan_ray.errors import UserError
from fastgan_ray.search.ablation import MAX_CELLS, OWN_BASELINE, AblationSpec, arm_config
from fastgan_ray.search.file.metric import under_protocol
from fastgan_ray.search.file.model import AblationFile
from fastgan_ray.search.file.read import check_overrides, default_name, read_model, top_comment
from fastgan_ray.search.file.settings import file_context


def load_ablation(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> AblationSpec:
    """Read an ablation from a YAML file.

    `overrides` (flat dotted keys) replace settings of `base` and of the arms; an override of
    `data.path` replaces all data sets. `seeds` replace the seeds of the file. If an override
    changes how the metric is measured (section `eval`), the metric gets the name for the new
    measurement. Raise UserError with every error of the file and its line.
    """
    return ablation_from_text(read_text(path), str(path), overrides, seeds)


def ablation_from_text(
    text: str,
    name: str,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> AblationSpec:
    """Read an ablation from the text of a file, like `load_ablation`.

    Messages call the file `name`.
    """
    document = parse(text, name)
    require_kind(document, "ablation")
    overrides = check_overrides(overrides or {})
    if "train.seed" in overrides:
        raise UserError(
            "--set: train.seed: the file's key `seeds` sets it; use --seeds to change it"
        )
    context = file_context(document.data, overrides)
    for violation in context.conflicts:
        document.errors.add(None, f"after the changes of --set: {violation.key}: {violation.rule}")
    file = read_model(AblationFile, document, context)
    replaced = {key: value for key, value in overrides.items() if key != "data.path"}
    base = {**file.base, **replaced}
    arms, baseline = _arms(file, replaced)
    _check_arms(base, arms, document)
    before, after = (RunConfig.model_validate(settings).eval for settings in (file.base, base))
    spec = AblationSpec(
        name=file.name or default_name(name),
        metric=under_protocol(file.metric, before, after),
        base=base,
        baseline=baseline,
        arms=arms,
        data=_data_sets(file, overrides),
        seeds=file.seeds if seeds is None else tuple(seeds),
        description=file.description or top_comment(text),
        text=text,
        overrides=overrides,
        compare=file.compare,
    )
    _check_trainings(spec, document)
    return spec


def _arms(file: AblationFile, replaced: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], str]:
    """Return (arms, name of the baseline); the baseline is one of the arms.

    If a setting is in `replaced`, an override replaces it, so it is removed from the arms.
    """
    arms, baseline = file.arms, file.baseline
    if not isinstance(baseline, str):
        arms, baseline = {OWN_BASELINE: baseline, **arms}, OWN_BASELINE
    return {
        name: {key: value for key, value in arm.items() if key not in replaced}
        for name, arm in arms.items()
    }, baseline


def _data_sets(file: AblationFile, overrides: Mapping[str, Any]) -> tuple[str | None, ...]:
    if "data.path" in overrides:
        return (overrides["data.path"],)
    return file.data or (file.base.get("data.path"),)


def _check_arms(
    base: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]], document: Document
) -> None:
    """Raise UserError if the settings of an arm are not valid with the overrides applied."""
    for name, arm in arms.items():
        for violation in check_settings({**base, **arm}):
            text = f"{violation.key}: {violation.rule}"
            document.errors.add(None, f"arm {name}, after the changes of --set: {text}")
    document.errors.check()


def _check_trainings(spec: AblationSpec, document: Document) -> None:
    """Raise UserError if two arms have the same settings, or if there are too many trainings.

    Also raise UserError if best checkpoints are compared and an arm does not keep a best
    checkpoint.
    """
    count = len(spec.arms) * len(spec.data) * len(spec.seeds)
    if count > MAX_CELLS:
        got = counted(count, "training")
        rule = f"arms x data sets x seeds must be at most {MAX_CELLS} (got {got})"
        document.add_error(("arms",), rule, "arms")
    configs = {arm: arm_config(spec, arm) for arm in spec.arms}
    for arm, config in configs.items():
        if spec.compare == "best" and config.train.keep_best == 0:
            rule = f"is best, so train.keep_best must be at least 1 (got 0 in arm {arm})"
            document.add_error(("compare",), rule, "compare")
    for first, second in itertools.combinations(configs, 2):
        if configs[first] == configs[second]:
            rule = f"has the same settings as arm {first}"
            if spec.overrides:
                rule += " after the changes of --set, --data and --embedded"
            document.add_error(("arms", second), rule, f"arm {second}")
    document.errors.check()
