"""Turn the settings that a function call or a command sets into plain Python values."""

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
    """Return {dotted name: value} of the settings that the arguments change.

    `settings` may be nested or have dotted names. They take precedence over `data` and `embedded`.
    Raise a UserError that lists every unknown or invalid setting.
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
    """Replace NumPy numbers, tuples and paths in a value with types that YAML can store."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def as_text(content: Mapping[str, Any]) -> str:
    """Return the content of a search or ablation file as YAML text.

    Raise UserError if the content has a value of a type that YAML cannot store.
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
    """Return an error without line numbers, because the user gave a mapping and not a file."""
    return UserError(re.sub(r"^config:\d+: ", "config: ", str(error), flags=re.MULTILINE))
