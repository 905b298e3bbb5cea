"""The settings that a call or a command changes, as Python values."""

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
    """Return the settings that a call changes, by dotted name.

    `settings` may be nested or have dotted names; they take precedence over `data` and `embedded`.
    Raise UserError with every setting that is unknown or not valid.
    """
    fields = dict(EMBEDDED) if embedded else {}
    if data is not None:
        fields["data.path"] = data_path(data)
    given = flatten(plain(settings or {}))
    errors = ErrorList("settings")
    check_alone(given, errors)
    errors.check()
    return fields | given


def plain(value: Any) -> Any:  # noqa: ANN401 - any value of a configuration
    """Return a value with NumPy's numbers, tuples and paths replaced by those of a YAML file."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def as_text(content: Mapping[str, Any]) -> str:
    """Return the content of a search or ablation file as YAML text.

    Raise UserError if it has values that are neither text, numbers, lists nor mappings.
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
    """Remove the line numbers from an error about a text that `as_text` made."""
    return UserError(re.sub(r"^config:\d+: ", "config: ", str(error), flags=re.MULTILINE))
