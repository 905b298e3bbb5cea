"""RunConfig: every setting of one training run; the defaults are those of the published FastGAN.

Sections are frozen and strict: an unknown key, a wrong type or a value out of range is an error.
The name of a setting (`total_kimg` = thousands of real images shown) or its description gives the
unit.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fastgan_ray.config.aliases import current_name
from fastgan_ray.config.model import RESOLUTIONS as RESOLUTIONS
from fastgan_ray.config.model import ModelConfig as ModelConfig
from fastgan_ray.config.section import Section
from fastgan_ray.config.strict_yaml import suggestion
from fastgan_ray.config.training import ReganConfig as ReganConfig
from fastgan_ray.config.training import TrainConfig as TrainConfig

# `augment.ada` controls p, the probability of these operations.
ADAPTIVE_OPS = ("bgc", "keras")
AUGMENT_OPS = ("color", "translation", "cutout", *ADAPTIVE_OPS)


def policy_ops(policy: str) -> list[str]:
    """List the operations of an augmentation policy: "color, cutout" -> ["color", "cutout"]."""
    return [op.strip() for op in policy.split(",") if op.strip()]


class DataConfig(Section):
    """The training pictures, and how each one is made square."""

    path: str | None = Field(
        None, description="folder, .zip, LMDB folder, or a name that `fastgan-ray data` lists"
    )
    fit: Literal["squash", "crop", "pad"] = Field(
        "squash", description="how a picture that is not square becomes one (published: squash)"
    )
    background: str = Field(
        "#ffffff",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="colour under transparent pixels and padding, as #rrggbb",
    )
    on_bad_image: Literal["error", "skip"] = Field(
        "error", description="what an unreadable file does: stop the run with its name, or nothing"
    )
    limit: int | None = Field(
        None, ge=2, description="train on this many pictures, drawn once by the seed; null = all"
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")


class AugmentConfig(Section):
    """Differentiable augmentation of real and generated pictures: DiffAugment, ADA, or both."""

    policy: str = Field(
        "color,translation",
        description=f"comma list of {', '.join(AUGMENT_OPS)} in their order; empty = none. "
        "bgc and keras are adaptive: StyleGAN2-ADA's pipe and Keras' flip, shift, rotate, zoom",
    )
    probability: float = Field(
        1.0, ge=0, le=1, description="probability that a picture gets color, translation and cutout"
    )
    brightness: float = Field(0.5, ge=0, le=2, description="shift by U(-b, b), of a range of 2")
    saturation: float = Field(1.0, ge=0, le=1, description="factor U(1-s, 1+s) about the grey")
    contrast: float = Field(0.5, ge=0, le=1, description="factor U(1-c, 1+c) about the mean")
    translation: float = Field(0.125, ge=0, le=1, description="shift by up to this share of a side")
    cutout: float = Field(0.5, ge=0, le=1, description="side of the blank square, share of a side")
    ada: Literal["stylegan2", "keras", "none"] = Field(
        "stylegan2", description="what controls p, the probability of bgc and keras; none = fixed"
    )
    ada_p: float = Field(0.0, ge=0, le=1, description="p at the start; with ada none, always")
    ada_max_p: float = Field(
        0.85, ge=0, le=1, description="upper limit of p: near 1, generated pictures look augmented"
    )
    ada_target: float | None = Field(
        None,
        ge=0,
        le=1,
        description="of stylegan2: the mean sign of D's real logits (null = 0.6); of keras: D's "
        "accuracy on real pictures (null = 0.85)",
    )
    ada_kimg: float = Field(
        500.0, gt=0, description="thousands of images in which stylegan2 moves p by 1"
    )
    ada_interval: int = Field(4, ge=1, le=1024, description="steps between stylegan2's moves of p")

    @field_validator("policy")
    @classmethod
    def _known_ops(cls, value: str) -> str:
        ops = policy_ops(value)
        if unknown := [op for op in ops if op not in AUGMENT_OPS]:
            raise ValueError(f"must be a comma list of {AUGMENT_OPS}: {unknown} unknown")
        if len(set(ops)) != len(ops):
            raise ValueError("must name each operation once")
        return value

    @model_validator(mode="after")
    def _p_starts_within_limits(self) -> AugmentConfig:
        if self.ada_p > self.ada_max_p:
            raise ValueError(
                f"ada_p must be at most ada_max_p (got ada_p {self.ada_p:g}, ada_max_p "
                f"{self.ada_max_p:g})"
            )
        return self


class EvalConfig(Section):
    """How the metric is measured (its protocol), and how often."""

    extractor: Literal[
        "inception",
        "inception_pytorch",
        "dinov2_vitb14",
        "dinov2_vitl14",
        "clip_vitb32",
        "efficientnet_lite0",
    ] = Field(
        "inception",
        description="feature network: inception = FID, inception_pytorch = FID on the PyTorch "
        "port, dinov2_vitl14 = FD_DINOv2; efficientnet_lite0 = embedded, no download",
    )
    num_fakes: int = Field(5000, ge=2, description="generated images per evaluation")
    early_fakes: int | None = Field(
        None,
        ge=2,
        description="generated images per evaluation before the run's last one; these metrics are "
        "named early/...; null = num_fakes",
    )
    mirrored_reference: bool = Field(
        False, description="compare with the real pictures and their mirror images"
    )
    every_kimg: float = Field(40.0, gt=0, description="thousands of images between evaluations")
    batch_size: int = Field(32, ge=1, le=4096, description="images per evaluation batch")
    seed: int = Field(0, ge=0, lt=2**31, description="of the evaluation's latents")
    probe_steps: int = Field(
        0,
        ge=0,
        description="batches of 8 that a fresh decoder of model.decoder_width learns at the run's "
        "end to reconstruct the pictures from the discriminator's frozen features "
        "(d_reconstruction); 0 = off",
    )

    @model_validator(mode="after")
    def _early_is_cheaper(self) -> EvalConfig:
        if self.early_fakes is not None and self.early_fakes > self.num_fakes:
            raise ValueError(
                "early_fakes must be at most num_fakes "
                f"(got early_fakes {self.early_fakes}, num_fakes {self.num_fakes})"
            )
        return self


class ResourcesConfig(Section):
    """The CPU cores, GPUs and processes that one trial uses."""

    workers: int = Field(
        1,
        ge=1,
        le=1024,
        description="processes that train one generator; they divide train.batch_size",
    )
    cpus: float = Field(1.0, gt=0, description="CPU cores of each worker; its threads")
    gpus: float | None = Field(
        None,
        ge=0,
        description="GPUs of each worker, fractions allowed if there is one worker; null = by "
        "resolution, width and batch; with several workers, one whole GPU each",
    )
    backend: Literal["auto", "flat", "ray_train"] = Field(
        "auto",
        description="what runs a trial: flat = one process of Ray Tune, starts in seconds; "
        "ray_train = Ray Train's workers, ten seconds more; auto = ray_train for several workers",
    )

    @property
    def nested(self) -> bool:
        """True if Ray Train runs the trial's workers, inside a process of Ray Tune."""
        return self.workers > 1 if self.backend == "auto" else self.backend == "ray_train"

    @model_validator(mode="after")
    def _workers_go_together(self) -> ResourcesConfig:
        if self.backend == "flat" and self.workers > 1:
            raise ValueError(
                f"backend flat has one process, but workers is {self.workers}: use backend auto"
            )
        if self.workers > 1 and self.gpus not in (None, 0, 1):
            raise ValueError(
                "gpus must be null, 0 or 1 with several workers: workers cannot share a GPU "
                f"(got gpus {self.gpus:g}, workers {self.workers})"
            )
        return self


class RunConfig(Section):
    """One training run. `RunConfig.model_validate({})` is the published FastGAN at 256 px."""

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
        sections = () if "." in key else SECTIONS
        return "is not a known setting" + suggestion(key, (*sections, *field_names()))

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, data: Any) -> Any:  # noqa: ANN401 - checked by pydantic
        """Accept settings as nested sections, as dotted keys, or as a mixture."""
        return nest(flatten(data)) if isinstance(data, dict) else data

    @field_validator("train")
    @classmethod
    def _has_blocks(cls, value: TrainConfig, info: ValidationInfo) -> TrainConfig:
        model: ModelConfig | None = info.data.get("model")  # None if not valid
        if value.gradient_checkpointing and model and model.architecture != "fastgan":
            raise ValueError(
                "gradient_checkpointing needs architecture fastgan: leave it off "
                f"(got architecture {model.architecture})"
            )
        return value

    @field_validator("resources")
    @classmethod
    def _batch_divides(cls, value: ResourcesConfig, info: ValidationInfo) -> ResourcesConfig:
        train: TrainConfig | None = info.data.get("train")  # None if not valid
        if train is not None and value.gpus == 0 and train.device in ("cuda", "mps"):
            raise ValueError(
                f"gpus 0 gives a run no GPU, but train.device is {train.device}: set train.device "
                "to auto or cpu, or gpus to null"
            )
        if train is not None and train.batch_size % value.workers:
            raise ValueError(
                "train.batch_size must be a multiple of workers: each gets an equal share "
                f"(got batch_size {train.batch_size}, workers {value.workers})"
            )
        return value


SECTIONS = tuple(RunConfig.model_fields)


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Put flat settings into sections: {"model.ngf": 8} -> {"model": {"ngf": 8}}."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        section, dot, field = name.partition(".")
        if not dot:
            nested[section] = value
        elif isinstance(fields := nested.setdefault(section, {}), dict):
            fields[field] = value  # else (`model: 3`) the section fails its check
    return nested


def flatten(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as one flat mapping, {dotted name: value}; replace old names by current ones.

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
