"""Read a search file: text -> strict YAML -> checked model -> SearchSpec; the default run_cap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fastgan_ray.config.file_kinds import require_kind
from fastgan_ray.config.messages import ErrorList
from fastgan_ray.config.rules import explain
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import check_alone
from fastgan_ray.config.strict_yaml import Document, Loc, parse, read_text
from fastgan_ray.search.file.metric import CANNOT_BE_MEASURED, under_protocol
from fastgan_ray.search.file.model import SearchFile
from fastgan_ray.search.file.nested import with_flat_parameters
from fastgan_ray.search.file.points import with_constants
from fastgan_ray.search.file.section import FileContext, FileSection
from fastgan_ray.search.file.settings import file_context
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.space import size

DEFAULT_RUN_CAP = 64
File = TypeVar("File", bound=FileSection)


def load_search(path: str | Path, overrides: Mapping[str, Any] | None = None) -> SearchSpec:
    """Read a search from a YAML file.

    `overrides` (flat dotted keys) replace settings of `base` and searched parameters of the same
    name. If an override changes how the metric is measured (section `eval`), the metric gets the
    name for the new measurement, and its target is removed. Raise UserError with every error of the
    file and its line.
    """
    return spec_from_text(read_text(path), str(path), overrides)


def spec_from_text(text: str, name: str, overrides: Mapping[str, Any] | None = None) -> SearchSpec:
    """Read a search from the text of a file, like `load_search`; messages call the file `name`."""
    document = with_flat_parameters(parse(text, name))
    require_kind(document, "search")
    context = file_context(document.data, check_overrides(overrides or {}))
    for key, rule in ((violation.key, violation.rule) for violation in context.conflicts):
        document.errors.add(None, f"after the changes of --set: {key}: {rule}")
    file = read_model(SearchFile, document, context)
    return _search_spec(file, document, context)


def _search_spec(file: SearchFile, document: Document, context: FileContext) -> SearchSpec:
    """Return the SearchSpec of a checked file, with the overrides applied."""
    assert context.settings is not None  # `read_model` has already raised the errors of the file
    space = with_constants(file.parameters, context.overrides)
    run_cap = file.run_cap or DEFAULT_RUN_CAP
    if file.method == "grid":
        trials = file.seeds * (size(space) or 0)
        run_cap = min(file.run_cap or trials, trials)
    before, after = context.config.eval, RunConfig.model_validate(context.settings).eval
    metric, *costs = (under_protocol(metric, before, after) for metric in file.metric)
    return SearchSpec(
        name=file.name or default_name(document.errors.name),
        method=file.method,
        sampler=file.sampler,
        metric=metric,
        costs=tuple(costs),
        run_cap=run_cap,
        seeds=file.seeds,
        budget=file.budget,
        early_terminate=file.early_terminate,
        population=file.population,
        confirm=file.confirm,
        knowledge=file.knowledge,
        base=context.settings,
        space=space,
        seed=file.seed,
        description=file.description or top_comment(document.text),
        text=document.text,
        overrides=context.overrides,
    )


def read_model(model: type[File], document: Document, context: FileContext) -> File:
    """Validate a document with `model`; raise UserError with all errors of the document."""
    file = None
    try:
        file = model.model_validate(document.data, context=context)
    except ValidationError as error:
        for loc, rule in explain(error, model):
            document.add_error(loc, rule, _shown(loc))
    document.errors.check()
    assert file is not None
    return file


def check_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides as flat settings {dotted name: value}, with current names for old names.

    Raise UserError if a value is not valid.
    """
    errors = ErrorList("--set")
    check_alone(overrides, errors)
    if overrides.get("eval.extractor") == "none":
        errors.add(None, f"eval.extractor: the file's metric {CANNOT_BE_MEASURED}")
    errors.check()
    return flatten(overrides)


def default_name(path: str) -> str:
    """Return the default name of a run, which is the name of its file without the suffix.

    Characters that are not allowed in the name of a run are replaced by "-".
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem).strip(".-_") or "unnamed"


def top_comment(text: str) -> str:
    """Return the comment at the top of a file, without the line for the editor's YAML plug-in."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# yaml-language-server:"):
            lines.append(line.lstrip("#").strip())
    return "\n".join(lines).strip()


def _shown(loc: Loc) -> str:
    """Return the name of the setting at `loc` for a message, e.g. "train.lr_g".

    For a setting of an arm, return "arm NAME: dotted name".
    """
    keys = [str(part) for part in loc]
    if keys[:1] == ["base"] and len(keys) > 1:
        return ".".join(keys[1:])
    if keys[:1] == ["parameters"] and len(keys) > 1:
        return keys[1]
    if keys[:1] == ["arms"] and len(keys) > 2:
        return f"arm {keys[1]}: {'.'.join(keys[2:])}"
    return ".".join(keys)
