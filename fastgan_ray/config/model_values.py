"""Allowed values in the section `model`: resolution, aspect, d_norm, self_supervision."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from fastgan_ray.config.aspects import ASPECTS, nearest_aspect

RESOLUTIONS = (32, 64, 128, 256, 512, 1024)


def _from_boolean(value: Any) -> Any:  # noqa: ANN401 - pydantic checks the type
    """Replace true by "batch" and false by "none"; return any other value unchanged.

    Files written for older versions have `d_batch_norm: true` or `false` in place of `d_norm`.
    """
    return ("batch" if value else "none") if isinstance(value, bool) else value


def _power_of_two(value: int) -> int:
    if value not in RESOLUTIONS:
        raise ValueError(f"must be a power of two from 32 to 1024: one of {RESOLUTIONS}")
    return value


def _multiple_of_the_strides(value: str) -> str:
    if value not in ASPECTS:
        raise ValueError(
            f"must be one of {', '.join(ASPECTS)} (width:height), because both sides must be "
            f"multiples of resolution / 4{nearest_aspect(value)}"
        )
    return value


Resolution = Annotated[int, AfterValidator(_power_of_two)]
Aspect = Annotated[str, AfterValidator(_multiple_of_the_strides)]
DNorm = Annotated[
    Literal["batch", "instance", "group", "none", "chain"], BeforeValidator(_from_boolean)
]

SelfSupervision = Literal[
    "ae",
    "none",
    "contrastive",
    "ae_contrastive",
    "augself",
    "ae_augself",
    "insgen",
    "ae_insgen",
    "fakeclr",
    "ae_fakeclr",
]
