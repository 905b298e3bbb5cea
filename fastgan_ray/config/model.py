"""The settings section `model`: architecture, sizes and components of the networks."""

from __future__ import annotations

import math
import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from fastgan_ray.config.section import Section

RESOLUTIONS = (32, 64, 128, 256, 512, 1024)
SNGAN_RESOLUTIONS = (32, 64, 128)
# width:height of a picture -> columns and rows of the generator's first feature map (4 x 4 for a
# square picture). The networks only double and halve this map, so both sides of a picture are
# multiples of resolution / 4. Longer pictures are not offered: the discriminator would not see them
# as a whole.
ASPECTS: dict[str, tuple[int, int]] = {
    "1:2": (4, 8),
    "4:7": (4, 7),
    "3:5": (3, 5),
    "2:3": (4, 6),
    "3:4": (3, 4),
    "4:5": (4, 5),
    "1:1": (4, 4),
    "5:4": (5, 4),
    "4:3": (4, 3),
    "3:2": (6, 4),
    "5:3": (5, 3),
    "7:4": (7, 4),
    "2:1": (8, 4),
}


class ModelConfig(Section):
    """Generator and discriminator: sizes, and switches for their components.

    The architecture fastgan uses all settings except dcgan_*. The other architectures use
    resolution, aspect, nz, output_activation, d_dropout and self_supervision. In addition, dcgan
    uses dcgan_*, d_batch_norm and d_slope; sngan uses ngf, ndf and spectral_norm (only in the
    discriminator); stylegan2 uses ngf, ndf and g_noise. These three have no decoders, so
    self_supervision only switches their contrastive loss on or off.
    """

    architecture: Literal["fastgan", "dcgan", "sngan", "stylegan2"] = Field(
        "fastgan",
        description="networks to train: fastgan; dcgan = the smaller GAN in Keras' "
        "adaptive-augmentation example; sngan = the residual networks of Miyato et al. 2018, with "
        "resolution 32, 64 or 128; stylegan2 = the networks of Karras et al. 2020",
    )
    resolution: int = Field(
        256,
        description="side of the generated picture in pixels; for pictures that are not "
        "square, see aspect",
        json_schema_extra={"unit": "px", "enum": [*RESOLUTIONS]},
    )
    aspect: str = Field(
        "1:1",
        description="width:height of the generated picture. The shorter side has `resolution` "
        "pixels, or three quarters of that number with 3:4, 4:3, 3:5 and 5:3. For example, with "
        "resolution 256, 2:3 gives 256 x 384 pixels, and 3:4 gives 192 x 256 pixels",
        json_schema_extra={"enum": [*ASPECTS]},
    )
    ngf: int = Field(
        64,
        ge=1,
        le=1024,
        description="number of the generator's channels in feature maps of 128 px; smaller maps "
        "have more channels, larger maps have fewer. With sngan: the number of channels at full "
        "resolution (with resolution 32: a quarter of the number of channels); published: 64. With "
        "stylegan2: the number of channels at 256 px; published: 64",
        json_schema_extra={"unit": "channels"},
    )
    ndf: int = Field(
        64,
        ge=1,
        le=1024,
        description="number of the discriminator's channels in feature maps of 64 px; smaller maps "
        "have more channels, larger maps have fewer. With sngan: the number of channels of the "
        "first block (with resolution 32: half of the number of channels); published: 64. With "
        "stylegan2: the number of channels at 256 px; published: 64",
        json_schema_extra={"unit": "channels"},
    )
    nz: int = Field(
        256,
        ge=1,
        le=8192,
        description="length of the latent vector",
        json_schema_extra={"unit": "numbers"},
    )
    g_channels: list[int] | None = Field(
        None,
        description="list of the generator's numbers of channels at 4, 8, 16, ... px up to "
        "resolution; replaces ngf",
        json_schema_extra={"unit": "channels"},
    )
    d_channels: list[int] | None = Field(
        None,
        description="list of the discriminator's numbers of channels at levels 8, 16, 32, "
        "... up to resolution; replaces ndf. Level 8 is the layer before the logits; level 16 "
        "has feature maps of 8 px, level 32 has feature maps of 16 px, and so on",
        json_schema_extra={"unit": "channels"},
    )
    g_sle_4: bool = Field(
        True,
        description="skip-layer excitation from the generator's feature maps of 4 px to those of "
        "64 px (of 32 px if resolution is 32)",
    )
    g_sle_8: bool = Field(
        True, description="skip-layer excitation from the generator's maps of 8 px to 128 px"
    )
    g_sle_16: bool = Field(
        True, description="skip-layer excitation from the generator's maps of 16 px to 256 px"
    )
    g_sle_32: bool = Field(
        True, description="skip-layer excitation from the generator's maps of 32 px to 512 px"
    )
    g_noise: bool = Field(True, description="noise injection in the generator")
    output_activation: Literal["tanh", "none"] = Field(
        "tanh",
        description="last activation of the generator: tanh; none = no activation, as in the "
        "published checkpoints for 256 px and 512 px",
    )
    d_sle: bool = Field(True, description="skip-layer excitation in the discriminator")
    d_small: bool = Field(
        True,
        description="second branch of the discriminator, whose input is the picture at half the "
        "resolution (at most 128 px)",
    )
    d_dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="fraction of the features that dropout removes before the discriminator's "
        "logits; null = 0.4 for dcgan, 0 for the others",
        json_schema_extra={"unit": "fraction"},
    )
    d_batch_norm: bool = Field(
        True,
        description="batch normalisation in the discriminator of fastgan and dcgan; false = add "
        "a learnt shift to each channel instead. The decoders always have batch normalisation",
    )
    d_slope: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="slope of the LeakyReLU for negative inputs, in the discriminator of fastgan "
        "and dcgan; 0 = ReLU",
    )
    self_supervision: Literal["ae", "none", "contrastive", "ae_contrastive"] = Field(
        "ae",
        description="extra task of the discriminator: ae = reconstruct pictures with the "
        "decoders (published); contrastive = recognise two augmented views of the same "
        "picture; ae_contrastive = both tasks; none = no extra task. Without ae there are no "
        "decoders",
    )
    decode_full: bool = Field(
        True,
        description="decoder that reconstructs the picture from the features at 8 px "
        "(self-supervision)",
    )
    decode_small: bool = Field(
        True,
        description="decoder that reconstructs the picture from the features of the second "
        "branch, d_small (self-supervision)",
    )
    decode_part: Literal["random", "centre", "none"] = Field(
        "random",
        description="decoder that reconstructs a quarter of the picture from the features at "
        "16 px (self-supervision): random = a random quarter; centre = the central one; none "
        "= no such decoder",
    )
    decoder_width: int = Field(
        32,
        ge=1,
        le=1024,
        description="base number of channels of the decoders (published: 32, for every ndf)",
        json_schema_extra={"unit": "channels"},
    )
    spectral_norm: bool = Field(
        True,
        description="spectral normalisation of all convolutions in both networks (with sngan: "
        "only in the discriminator)",
    )
    dcgan_width: int = Field(
        128,
        ge=1,
        le=1024,
        description="number of channels in each layer of dcgan",
        json_schema_extra={"unit": "channels"},
    )
    dcgan_depth: int = Field(
        4,
        ge=3,
        le=8,
        description="number of upsampling layers in dcgan: each doubles the side, from 4 px "
        "to resolution, which must be 4 * 2^dcgan_depth",
        json_schema_extra={"unit": "layers"},
    )
    dcgan_upsampling: Literal["transposed", "nearest", "bilinear"] = Field(
        "transposed",
        description="how dcgan's generator doubles the side: transposed = a transposed 4x4 "
        "convolution; nearest or bilinear = this interpolation, then a 3x3 convolution",
    )
    dcgan_init: Literal["glorot", "normal"] = Field(
        "glorot",
        description="initial weights of dcgan: glorot = uniform, as in Keras; normal = N(0, 0.02), "
        "as in the paper on DCGAN",
    )

    @property
    def d_blocks(self) -> int:
        """The number of the discriminator's blocks from the picture to the head."""
        if self.architecture == "fastgan":
            return (min(self.resolution, 256) // 16).bit_length() + 1
        halvings = (self.resolution // 4).bit_length() - 1  # down to 4 px
        return halvings + (self.architecture == "sngan")

    @property
    def autoencodes(self) -> bool:
        """True if the enabled decoders are built and trained."""
        kinds = ("ae", "ae_contrastive")
        return self.architecture == "fastgan" and self.self_supervision in kinds

    @property
    def contrasts(self) -> bool:
        """True if the projection of the contrastive loss is built and trained."""
        return self.self_supervision in ("contrastive", "ae_contrastive")

    @property
    def dropout(self) -> float:
        """The fraction of features that dropout removes before the discriminator's logits."""
        default = 0.4 if self.architecture == "dcgan" else 0.0
        return default if self.d_dropout is None else self.d_dropout

    @property
    def logits(self) -> int:
        """The number of logits that the discriminator computes for one picture.

        fastgan: 5 x 5 for each branch if the picture is square. The other architectures: 1.
        """
        if self.architecture != "fastgan":
            return 1
        height, width = self.map_size(8)
        return (1 + self.d_small) * (height - 3) * (width - 3)

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of a generated picture in pixels."""
        return self.map_size(self.resolution)

    @property
    def proportions(self) -> tuple[int, int]:
        """The ratio of a picture's height to its width, as two small whole numbers."""
        return self.map_size(4)

    def map_size(self, level: int) -> tuple[int, int]:
        """Return the height and width, in px, of the feature maps at `level`.

        If the picture is square, both are equal to `level`.
        """
        columns, rows = ASPECTS[self.aspect]
        return rows * level // 4, columns * level // 4

    @field_validator("resolution")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value not in RESOLUTIONS:
            raise ValueError(f"must be a power of two from 32 to 1024 (one of {RESOLUTIONS})")
        return value

    @field_validator("aspect")
    @classmethod
    def _multiple_of_the_strides(cls, value: str) -> str:
        if value not in ASPECTS:
            raise ValueError(
                f"must be one of {', '.join(ASPECTS)} (width:height), because both sides must be "
                f"multiples of resolution / 4{_nearest(value)}"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        for name, first in (("g_channels", 4), ("d_channels", 8)):
            widths = getattr(self, name)
            if widths is None:
                continue
            expected = int(math.log2(self.resolution // first)) + 1
            if len(widths) != expected or any(not 1 <= width <= 16384 for width in widths):
                raise ValueError(
                    f"{name} must list {expected} numbers of channels (1 to 16384), one for each "
                    f"of {first}, {2 * first}, ..., {self.resolution} (got {widths})"
                )
        if self.architecture == "dcgan" and self.resolution != 4 * 2**self.dcgan_depth:
            raise ValueError(
                f"with architecture dcgan and dcgan_depth {self.dcgan_depth}, resolution must be "
                f"4 * 2^dcgan_depth = {4 * 2**self.dcgan_depth} (got {self.resolution})"
            )
        if self.architecture == "sngan" and self.resolution not in SNGAN_RESOLUTIONS:
            raise ValueError(
                "with architecture sngan, resolution must be one of "
                f"{SNGAN_RESOLUTIONS} (got {self.resolution})"
            )
        if self.autoencodes and self.decode_small and not self.d_small:
            raise ValueError(
                "decode_small must be false if d_small is false, because this decoder "
                "needs the second branch"
            )
        return self


def _nearest(aspect: str) -> str:
    """Return a hint with the ratio in ASPECTS that is nearest to `aspect`, such as 16:9.

    Return "" if `aspect` is not a ratio.
    """
    match = re.fullmatch(r"([1-9]\d{0,4}):([1-9]\d{0,4})", aspect)
    if match is None:
        return ""
    wanted = math.log(int(match[1]) / int(match[2]))
    ratios = {name: columns / rows for name, (columns, rows) in ASPECTS.items()}
    nearest = min(ratios, key=lambda name: abs(wanted - math.log(ratios[name])))
    return f"; the nearest to {aspect} is {nearest}"
