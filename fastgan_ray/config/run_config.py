"""RunConfig: all sections of a run's settings; rules between sections; dotted names.

The defaults are those of the published FastGAN. Sections are frozen and strict: an unknown key, a
wrong type or a value out of range is an error. The unit of a setting is in its name or in its
description.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationInfo, field_validator, model_validator

from fastgan_ray.config.aliases import current_name
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.feature_networks import own_network
from fastgan_ray.config.messages import suggestion
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.other_names import OTHER_NAMES
from fastgan_ray.config.regan import ReganConfig
from fastgan_ray.config.resources import ResourcesConfig
from fastgan_ray.config.section import Section
from fastgan_ray.config.training import TrainConfig
from fastgan_ray.config.training_rules import broken_rule


class RunConfig(Section):
    """The configuration of one training run; the default is the published FastGAN at 256 px."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainConfig = TrainConfig()
    regan: ReganConfig = ReganConfig()
    eval: EvalConfig = EvalConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @classmethod
    def unknown_key(cls, key: str) -> str:
        """Return the message for a dotted key that is not a setting; suggest a similar setting."""
        if hint := OTHER_NAMES.get(key.rpartition(".")[2].lower().replace("-", "_")):
            return f"is not a known setting; {hint}"
        sections = () if "." in key else SECTIONS
        return "is not a known setting" + suggestion(key, (*sections, *field_names()))

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, data: Any) -> Any:  # noqa: ANN401 - checked by pydantic
        """Accept settings as nested sections, as dotted keys, or as a mixture."""
        return nest(flatten(data)) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _is_valid_after_schedules(self) -> RunConfig:
        """Check the rules about several sections again, with the final values of the schedules."""
        parts = {"train": self.train, "augment": self.augment, "regan": self.regan}
        ends = {name: part.after_schedules() for name, part in parts.items() if part.schedules}
        if ends:
            RunConfig.model_validate({**dict(self), **ends})
        return self

    @field_validator("model")
    @classmethod
    def _sees_colours(cls, value: ModelConfig, info: ValidationInfo) -> ModelConfig:
        data: DataConfig | None = info.data.get("data")  # None if not valid
        if value.projects and data and data.mode == "rgba":
            raise ValueError(
                "discriminator must be 'architecture' if data.mode is rgba, because the network of "
                "d_features cannot see alpha (got discriminator 'projected')"
            )
        return value

    @field_validator("eval")
    @classmethod
    def _is_not_trained_on(cls, value: EvalConfig, info: ValidationInfo) -> EvalConfig:
        model: ModelConfig | None = info.data.get("model")  # None if not valid
        if model and (rule := own_network(model, value)):
            raise ValueError(rule)
        return value

    @field_validator("train")
    @classmethod
    def _fits_the_other_sections(cls, value: TrainConfig, info: ValidationInfo) -> TrainConfig:
        if rule := broken_rule(value, info.data.get("model"), info.data.get("augment")):
            raise ValueError(rule)
        return value

    @field_validator("resources")
    @classmethod
    def _batch_divides(cls, value: ResourcesConfig, info: ValidationInfo) -> ResourcesConfig:
        train: TrainConfig | None = info.data.get("train")  # None if not valid
        if train is not None and value.gpus == 0 and train.device in ("cuda", "mps"):
            raise ValueError(
                f"gpus must be null or above 0 if train.device is {train.device} (got gpus 0); "
                "set gpus to null, or train.device to auto or cpu"
            )
        if train is not None and train.batch_size % value.workers:
            raise ValueError(
                "train.batch_size must be a multiple of workers, because each worker gets an "
                f"equal part (got batch_size {train.batch_size}, workers "
                f"{value.workers})"
            )
        return value


SECTIONS = tuple(RunConfig.model_fields)


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Group flat settings into sections: {"model.ngf": 8} -> {"model": {"ngf": 8}}."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        section, dot, field = name.partition(".")
        if not dot:
            nested[section] = value
        elif isinstance(fields := nested.setdefault(section, {}), dict):
            fields[field] = value  # else (`model: 3`) the section fails its check
    return nested


def flatten(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as one flat mapping {dotted name: value}; replace old names by current names.

    `sections` may have nested sections, dotted keys, or a mixture.
    """
    flat: dict[str, Any] = {}
    for section, value in sections.items():
        if value is None and section in SECTIONS:
            continue  # the section is empty, e.g. all of its lines are comments
        is_nested = "." not in section and isinstance(value, dict)
        if is_nested and (value or section in SECTIONS):
            flat |= {current_name(f"{section}.{field}"): inner for field, inner in value.items()}
        else:
            flat[current_name(section)] = value
    return flat


@functools.cache
def field_names() -> tuple[str, ...]:
    """List the dotted name of every setting, in the order of the sections."""
    return tuple(flatten(RunConfig().model_dump()))
