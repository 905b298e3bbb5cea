"""ReganConfig, the section `regan`: sparse and dense phases of the generator's training."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from fastgan_ray.config.scheduled import ScheduledSection


class ReganConfig(ScheduledSection):
    """Settings of Re-GAN, which trains G in sparse and dense phases alternately; off by default."""

    NOT_SCHEDULED: ClassVar[dict[str, str]] = {
        "warmup_kimg": "the time of the first pruning is fixed",
        "interval_kimg": "the phases have a fixed length",
    }

    sparsity: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of the generator's weights that is pruned in sparse phases, in "
        "each convolution and linear layer; 0 = Re-GAN is off",
        json_schema_extra={"unit": "fraction"},
    )
    warmup_kimg: float = Field(
        40.0,
        ge=0,
        description="length of the training before the first pruning, in thousands of images",
    )
    interval_kimg: float = Field(
        40.0,
        gt=0,
        description="length of each sparse phase and each dense phase, in thousands of images",
    )
    regrow: Literal["zero", "stored"] = Field(
        "zero",
        description="value of the pruned weights at the start of a dense phase: zero = 0; stored "
        "= the value that they had before the pruning",
    )
    dense_lr_factor: float = Field(
        0.1,
        gt=0,
        le=10,
        description="train.lr_g is multiplied by this factor in dense phases, but not in the "
        "training before the first pruning",
    )
