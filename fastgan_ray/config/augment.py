"""AugmentConfig, the section `augment`: policy, strengths, ADA; the names of operations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from fastgan_ray.config.messages import suggestion
from fastgan_ray.config.scheduled import ScheduledSection

# `augment.ada` controls p, the probability of these operations.
ADAPTIVE_OPS = ("bgc", "keras")
# `augment.ada` also controls these operations. They work only during training, because they mix
# real and generated pictures, or add noise that is drawn on the device.
TRAINING_OPS = ("apa", "anda", "diffusion")
AUGMENT_OPS = ("color", "translation", "cutout", *ADAPTIVE_OPS, *TRAINING_OPS)

# Operations that the user added with `fastgan_ray.register` -> whether `augment.ada` controls them.
REGISTERED_OPS: dict[str, bool] = {}


def policy_ops(policy: str) -> list[str]:
    """Split an augmentation policy into its operations: "color, cutout" -> ["color", "cutout"]."""
    return [op.strip() for op in policy.split(",") if op.strip()]


def is_adaptive(op: str) -> bool:
    """Return True if `augment.ada` adapts the probability or the strength of the operation `op`."""
    return op in (*ADAPTIVE_OPS, *TRAINING_OPS) or REGISTERED_OPS.get(op, False)


def unknown_ops(policy: str) -> list[str]:
    """List the operations of a policy that are neither built in nor registered by the user."""
    return [op for op in policy_ops(policy) if op not in (*AUGMENT_OPS, *REGISTERED_OPS)]


def how_to_register(op: str) -> str:
    """Return a sentence for an error message that says how to register the operation `op`."""
    return f'If it is your own operation, first call fastgan_ray.register("{op}", ...)'


class AugmentConfig(ScheduledSection):
    """Settings of the augmentation of real and generated pictures: DiffAugment, ADA, or both."""

    policy: str = Field(
        "color,translation",
        description="names of augmentation operations, separated by commas; they are applied in "
        "the order in which the policy names them. Exceptions: apa and anda always come first, "
        "and diffusion always comes last. Empty = no augmentation. The names are "
        f"{', '.join(AUGMENT_OPS)}. bgc = the operations of StyleGAN2-ADA; keras = flip, shift, "
        "rotation and zoom as in Keras; apa = generated pictures replace some real pictures "
        "(Jiang et al. 2021); anda = some generated pictures are mixed with a fifth of a real "
        "picture (Zhang et al. 2024); diffusion = Gaussian noise of random strength is added "
        "(Diffusion-GAN, Wang et al. 2023). The setting ada adapts the probability of bgc, "
        "keras, apa and anda, and the strength of diffusion",
    )
    probability: float = Field(
        1.0,
        ge=0,
        le=1,
        description="probability that a picture is augmented by color, translation and cutout. A "
        "picture gets all of these operations that policy names, or none of them",
        json_schema_extra={"unit": "probability"},
    )
    brightness: float = Field(
        0.5,
        ge=0,
        le=2,
        description="the operation color adds one random number from U(-brightness, brightness) "
        "to all pixels of a picture; pixel values are from -1 to 1",
    )
    saturation: float = Field(
        1.0,
        ge=0,
        le=1,
        description="the operation color multiplies each pixel's difference from grey by a "
        "random factor from U(1 - saturation, 1 + saturation)",
    )
    contrast: float = Field(
        0.5,
        ge=0,
        le=1,
        description="the operation color multiplies each pixel's difference from the picture's "
        "mean by a random factor from U(1 - contrast, 1 + contrast)",
    )
    translation: float = Field(
        0.125,
        ge=0,
        le=1,
        description="the operation translation shifts a picture in each direction by at most "
        "this fraction of its side",
        json_schema_extra={"unit": "fraction of the side"},
    )
    cutout: float = Field(
        0.5,
        ge=0,
        le=1,
        description="side of the blank square that the operation cutout draws, as a fraction of "
        "the picture's side",
        json_schema_extra={"unit": "fraction of the side"},
    )
    keras_shift: float = Field(
        0.125,
        ge=0,
        le=1,
        description="the operation keras shifts a picture in each direction by at most this "
        "fraction of its side",
        json_schema_extra={"unit": "fraction of the side"},
    )
    keras_rotation: float = Field(
        0.125,
        ge=0,
        le=0.5,
        description="the operation keras rotates a picture by at most this fraction of a full "
        "turn, in either direction (0.125 = 45 degrees)",
        json_schema_extra={"unit": "fraction of a turn"},
    )
    keras_zoom: float = Field(
        0.25,
        ge=0,
        lt=1,
        description="the operation keras magnifies a picture: it cuts off at most this fraction "
        "of the picture's height and of its width",
        json_schema_extra={"unit": "fraction of the side"},
    )
    ada: Literal["stylegan2", "keras", "none"] = Field(
        "stylegan2",
        description="rule that changes p during the training. p is the probability of bgc, "
        "keras, apa and anda, and the strength of diffusion. stylegan2 = the rule of "
        "StyleGAN2-ADA; keras = the rule of the Keras example; none = no rule changes p",
    )
    ada_p: float = Field(
        0.0,
        ge=0,
        le=1,
        description="value of p (see ada) at the start of the training; if ada is none, value of "
        "p during the whole training",
        json_schema_extra={"unit": "probability"},
    )
    ada_max_p: float = Field(
        0.85,
        ge=0,
        le=1,
        description="upper limit of p (see ada); if p is near 1, the generator learns to draw "
        "pictures that look augmented",
        json_schema_extra={"unit": "probability"},
    )
    ada_target: float | None = Field(
        None,
        ge=0,
        le=1,
        description="target of the rule in ada: p rises while the measured value is above the "
        "target, and falls while it is below. The rule stylegan2 measures the mean sign of the "
        "discriminator's logits on real pictures (null = 0.6). The rule keras measures the "
        "discriminator's accuracy on real pictures (null = 0.85)",
    )
    ada_kimg: float = Field(
        500.0,
        gt=0,
        description="speed of the rule stylegan2: the number of training images, in thousands, "
        "in which p can rise from 0 to 1",
    )
    ada_interval: int = Field(
        4,
        ge=1,
        le=1024,
        description="the rule stylegan2 changes p once in this number of training steps",
        json_schema_extra={"unit": "steps"},
    )
    ada_steps: int = Field(
        1000,
        ge=1,
        le=10_000_000,
        description="speed of the rule keras: the number of training steps in which p changes by "
        "1 if the discriminator's accuracy differs from ada_target by 1",
        json_schema_extra={"unit": "steps"},
    )

    @field_validator("policy")
    @classmethod
    def _known_ops(cls, value: str) -> str:
        ops = policy_ops(value)
        if unknown := unknown_ops(value):
            known = (*AUGMENT_OPS, *REGISTERED_OPS)
            hint = suggestion(unknown[0], known) or "."
            raise ValueError(
                f"must be operations from {', '.join(known)}, separated by commas; "
                f"unknown: {', '.join(unknown)}{hint} {how_to_register(unknown[0])}"
            )
        if len(set(ops)) != len(ops):
            raise ValueError("must not name an operation twice")
        return value

    @model_validator(mode="after")
    def _one_rule_for_p(self) -> AugmentConfig:
        if self.changes("ada_p") and self.ada != "none":
            raise ValueError(
                "ada_p can be a schedule only if ada is none, because otherwise a rule changes p "
                f"(got ada {self.ada})"
            )
        return self

    @model_validator(mode="after")
    def _p_starts_within_limits(self) -> AugmentConfig:
        if self.ada_p > self.ada_max_p:
            raise ValueError(
                f"ada_p must be at most ada_max_p (got ada_p {self.ada_p:g}, ada_max_p "
                f"{self.ada_max_p:g})"
            )
        return self
