"""Replace settings of an existing configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.errors import UserError


def override(config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """Return a copy of `config` in which the values of `settings` replace the old values.

    `settings` is {dotted name: value}. Raise UserError with every broken rule if the resulting
    configuration is not valid.
    """
    merged = {**flatten(config.model_dump()), **settings}
    if violations := check_settings(merged):
        rules = "\n".join(f"{violation.key}: {violation.rule}" for violation in violations)
        raise UserError(f"the configuration is not valid:\n{rules}")
    return RunConfig.model_validate(merged)
