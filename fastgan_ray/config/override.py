"""Replacing fields of a configuration by their dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from fastgan_ray.config.run_config import RunConfig, flatten, nest
from fastgan_ray.config.run_file import explain
from fastgan_ray.errors import UserError


def override(config: RunConfig, flat: Mapping[str, Any]) -> RunConfig:
    """`config` with fields replaced and everything checked again; UserError names each fault."""
    try:
        return RunConfig.model_validate(nest({**flatten(config.model_dump()), **flat}))
    except ValidationError as error:
        rules = "\n".join(f"{key}: {rule}" for key, rule in explain(error))
        raise UserError(f"the configuration does not hold:\n{rules}") from None
