"""The fields of `ModelConfig` that only the architecture dcgan uses."""

from __future__ import annotations

from typing import Any

from pydantic import Field

DCGAN_WIDTH: Any = Field(
    128,
    ge=1,
    le=1024,
    description="number of channels in each layer of dcgan",
    json_schema_extra={"unit": "channels"},
)
DCGAN_DEPTH: Any = Field(
    4,
    ge=3,
    le=8,
    description="number of upsampling layers in dcgan. Each layer doubles the side of the "
    "feature maps, from 4 px up to model.resolution, so model.resolution must be 4 * "
    "2^dcgan_depth",
    json_schema_extra={"unit": "layers"},
)
DCGAN_UPSAMPLING: Any = Field(
    "transposed",
    description="how dcgan's generator doubles the side of its feature maps: transposed = by a "
    "transposed 4x4 convolution; nearest = by nearest-neighbour interpolation, then a 3x3 "
    "convolution; bilinear = by bilinear interpolation, then a 3x3 convolution",
)
DCGAN_INIT: Any = Field(
    "glorot",
    description="distribution of the initial weights of dcgan: glorot = Glorot's uniform "
    "distribution, as in Keras; normal = a normal distribution with mean 0 and standard "
    "deviation 0.02, as in the DCGAN paper",
)
