"""Convert the settings from Python arguments or command-line options to plain Python values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fastgan_ray.api.pictures import Data, data_path
from fastgan_ray.config.messages import ErrorList, format_value
from fastgan_ray.config.run_config import flatten
from fastgan_ray.config.run_file import check_alone, dump_yaml
from fastgan_ray.errors import UserError

EMBEDDED: dict[str, Any] = {
    "eval.extractor": "efficientnet_lite0",
    "train.reconstruction": "efficientnet_lite0",
}


def changes(
    data: Data | None, settings: Mapping[str, Any] | None, embedded: bool
) -> dict[str, Any]:
    """Return {dotted name: value} for all settings that the arguments change.

    `data` sets `data.path`. If `embedded` is True, the metric and the reconstruction loss use the
    feature network inside the package (EMBEDDED). `settings` may be nested or have dotted names,
    and has priority over the other arguments. Raise one UserError with all unknown or invalid
    settings.
    """
    fields = dict(EMBEDDED) if embedded else {}
    if data is not None:
        fields["data.path"] = data_path(data)
    given = flatten(plain(settings or {}))
    errors = ErrorList("settings")
    if data is not None and given.get("data.path", fields["data.path"]) != fields["data.path"]:
        raise UserError(
            f"data.path: is set twice, to {fields['data.path']} and to {given['data.path']}; "
            "leave one of them out"
        )
    check_alone(given, errors)
    errors.check()
    return fields | given


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of a configuration
    """Convert NumPy numbers, tuples and paths inside `value` to types that YAML can store."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def as_text(content: Mapping[str, Any]) -> str:
    """Convert the content of a search or ablation file to YAML text.

    Raise UserError if `content` has a value of a type that YAML cannot store.
    """
    try:
        return dump_yaml(plain(content))
    except yaml.YAMLError as error:
        reason = str(error.args[-1]) if error.args else str(error)
        raise UserError(
            "config: must have only text, numbers, true and false, None, lists and mappings "
            f"(got {format_value(reason)})"
        ) from None


def without_lines(error: UserError) -> UserError:
    """Return `error` without line numbers in its message, because a mapping has no lines."""
    return UserError(re.sub(r"^config:\d+: ", "config: ", str(error), flags=re.MULTILINE))
