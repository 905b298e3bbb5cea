"""From the text of a search file to its checked form: text -> strict YAML -> model -> spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fastgan_ray.config.rules import explain
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import check_alone
from fastgan_ray.config.strict_yaml import Document, ErrorList, Loc, parse, read_text
from fastgan_ray.search.file.metric import under_protocol
from fastgan_ray.search.file.model import SearchFile
from fastgan_ray.search.file.points import with_constants
from fastgan_ray.search.file.section import FileContext, FileSection
from fastgan_ray.search.file.settings import file_context
from fastgan_ray.search.file.spec import SearchSpec
from fastgan_ray.search.space import size

DEFAULT_RUN_CAP = 64
File = TypeVar("File", bound=FileSection)


def load_search(path: str | Path, overrides: Mapping[str, Any] | None = None) -> SearchSpec:
    """Read the search in a YAML file; UserError with every error of it, each with its line.

    `overrides` (flat dotted keys) replace base values and searched parameters of the same name; if
    they change the metric's protocol, the metric's name follows and its target is dropped.
    """
    return spec_from_text(read_text(path), str(path), overrides)


def spec_from_text(text: str, name: str, overrides: Mapping[str, Any] | None = None) -> SearchSpec:
    """Read a search from its file's text, as `load_search`; messages call the file `name`."""
    document = parse(text, name)
    context = file_context(document.data, check_overrides(overrides or {}))
    for key, rule in ((violation.key, violation.rule) for violation in context.conflicts):
        document.errors.add(None, f"with what --set changes: {key}: {rule}")
    file = read_model(SearchFile, document, context)
    return _search_spec(file, document, context)


def _search_spec(file: SearchFile, document: Document, context: FileContext) -> SearchSpec:
    """The search that a file describes, under the overrides."""
    assert context.settings is not None  # else the document has errors
    space = with_constants(file.parameters, context.overrides)
    run_cap = file.run_cap or DEFAULT_RUN_CAP
    if file.method == "grid":
        points = size(space) or 0
        run_cap = min(file.run_cap or points, points)
    before, after = context.config.eval, RunConfig.model_validate(context.settings).eval
    metric, *costs = (under_protocol(metric, before, after) for metric in file.metric)
    return SearchSpec(
        name=file.name or default_name(document.errors.name),
        method=file.method,
        sampler=file.sampler,
        metric=metric,
        costs=tuple(costs),
        run_cap=run_cap,
        budget=file.budget,
        early_terminate=file.early_terminate,
        population=file.population,
        confirm=file.confirm,
        base=context.settings,
        space=space,
        seed=file.seed,
        description=file.description or top_comment(document.text),
        text=document.text,
        overrides=context.overrides,
    )


def read_model(model: type[File], document: Document, context: FileContext) -> File:
    """Check a document's mapping; UserError with all errors of the document."""
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
    """Return flat settings by their current names; UserError if they break a rule by themselves."""
    errors = ErrorList("--set")
    check_alone(overrides, errors)
    errors.check()
    return flatten(overrides)


def default_name(path: str) -> str:
    """Make the name of a run from its file's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem).strip(".-_") or "unnamed"


def top_comment(text: str) -> str:
    """Return the comment at the top of a file, but not what it says to an editor."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# yaml-language-server:"):
            lines.append(line.lstrip("#").strip())
    return "\n".join(lines).strip()


def _shown(loc: Loc) -> str:
    """Name a setting for a message by its dotted name; in an arm, put the arm's name first."""
    keys = [str(part) for part in loc]
    if keys[:1] == ["base"] and len(keys) > 1:
        return ".".join(keys[1:])
    if keys[:1] == ["parameters"] and len(keys) > 1:
        return keys[1]
    if keys[:1] == ["arms"] and len(keys) > 2:
        return f"arm {keys[1]}: {'.'.join(keys[2:])}"
    return ".".join(keys)
