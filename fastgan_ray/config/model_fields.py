"""The fields of the section `model`: architecture, sizes and parts of the networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fastgan_ray.config import dcgan_fields, frequency_fields, task_fields
from fastgan_ray.config.aspects import ASPECTS
from fastgan_ray.config.model_values import (
    RESOLUTIONS,
    Aspect,
    DNorm,
    Resolution,
    SelfSupervision,
)
from fastgan_ray.config.projected import halving_count, input_size, logit_count, map_sizes
from fastgan_ray.config.section import Section


class ModelFields(Section):
    """The fields of `ModelConfig`, and properties that are computed from the fields."""

    architecture: Literal["fastgan", "dcgan", "sngan", "stylegan2"] = Field(
        "fastgan",
        description="networks to train: fastgan = the networks of FastGAN; dcgan = the smaller "
        "GAN in Keras' adaptive-augmentation example; sngan = the residual networks of Miyato et "
        "al. 2018, with resolution 32, 64 or 128; stylegan2 = the networks of Karras et al. 2020",
    )
    discriminator: Literal["architecture", "projected"] = Field(
        "architecture",
        description="discriminator to train: architecture = the discriminator that belongs to "
        "the chosen architecture; projected = four small discriminators on the features of a "
        "frozen pretrained network (Sauer et al. 2021), allowed only with architecture fastgan. "
        "A projected discriminator uses ndf, d_features, d_input_px, d_dropout, d_norm, d_slope "
        "and spectral_norm",
    )
    d_features: Literal["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"] = Field(
        "efficientnet_lite1",
        description="pretrained network that computes the features for the projected "
        "discriminator; it must differ from the network in eval.extractor, because otherwise the "
        "training would optimise its own metric",
    )
    d_input_px: int = Field(
        224,
        ge=64,
        le=1024,
        description="length to which the shorter side of smaller pictures is enlarged before the "
        "network of d_features sees them; larger pictures keep their size (published: 224)",
        json_schema_extra={"unit": "px"},
    )
    resolution: Resolution = Field(
        256,
        description="side of the generated picture in pixels; for pictures that are not square, "
        "see aspect",
        json_schema_extra={"unit": "px", "enum": [*RESOLUTIONS]},
    )
    aspect: Aspect = Field(
        "1:1",
        description="width:height of the generated picture. The shorter side has as many pixels "
        "as resolution says, but only three quarters of that number with 3:4, 4:3, 3:5 and 5:3. "
        "For example, with resolution 256, 2:3 gives 256 x 384 pixels, and 3:4 gives 192 x 256 "
        "pixels",
        json_schema_extra={"enum": [*ASPECTS]},
    )
    ngf: int = Field(
        64,
        ge=1,
        le=1024,
        description="number of channels in the generator's feature maps of 128 px; smaller maps "
        "have more channels, larger maps have fewer. With sngan, maps at full resolution have "
        "ngf channels, or 4 x ngf channels if resolution is 32 (published ngf: 64). With "
        "stylegan2, maps of 256 px have ngf channels (published ngf: 64)",
        json_schema_extra={"unit": "channels"},
    )
    ndf: int = Field(
        64,
        ge=1,
        le=1024,
        description="number of channels in the discriminator's feature maps of 64 px; smaller "
        "maps have more channels, larger maps have fewer. With sngan, the first block has ndf "
        "channels, or 2 x ndf channels if resolution is 32 (published ndf: 64). With stylegan2, "
        "maps of 256 px have ndf channels (published ndf: 64)",
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
        description="list with the number of channels in the generator's feature maps of 4 px, 8 "
        "px, 16 px and so on, up to resolution; replaces ngf. null = use ngf",
        json_schema_extra={"unit": "channels"},
    )
    d_channels: list[int] | None = Field(
        None,
        description="list with the number of the discriminator's channels at level 8, 16, 32 and "
        "so on, up to resolution; replaces ndf. Level 8 is the layer before the logits. Level 16 "
        "has feature maps of 8 px, level 32 has feature maps of 16 px, and so on. null = use ndf",
        json_schema_extra={"unit": "channels"},
    )
    g_sle_4: bool = Field(
        True,
        description="skip-layer excitation from the generator's feature maps of 4 px to its "
        "feature maps of 64 px (of 32 px if resolution is 32)",
    )
    g_sle_8: bool = Field(
        True, description="skip-layer excitation from the generator's 8 px maps to its 128 px maps"
    )
    g_sle_16: bool = Field(
        True, description="skip-layer excitation from the generator's 16 px maps to its 256 px maps"
    )
    g_sle_32: bool = Field(
        True, description="skip-layer excitation from the generator's 32 px maps to its 512 px maps"
    )
    g_noise: bool = Field(
        True,
        description="noise injection in the generator; with fastgan only in blocks with two "
        "convolutions",
    )
    g_blocks: Literal["mixed", "single", "double"] = Field(
        "mixed",
        description="number of convolutions in each block of fastgan's generator: mixed = two in "
        "the blocks of 8, 32, 128 and 512 px, one in the other blocks (published); single = one "
        "in every block (the lite generator of Projected GAN, for small sets of pictures); "
        "double = two in every block",
    )
    g_wavelet_skips: bool = frequency_fields.G_WAVELET_SKIPS
    output_activation: Literal["tanh", "none"] = Field(
        "tanh",
        description="activation after the generator's last layer: tanh, or none = no activation, "
        "as in the published checkpoints for 256 px and 512 px",
    )
    d_sle: bool = Field(True, description="skip-layer excitation in the discriminator")
    d_small: bool = Field(
        True,
        description="true = add a second branch to the discriminator. The input of this branch "
        "is the picture at half the resolution (at most 128 px)",
    )
    d_dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="fraction of the features that dropout removes before the discriminator's "
        "logits; null = 0.4 for architecture dcgan, 0 for the other architectures",
        json_schema_extra={"unit": "fraction"},
    )
    d_norm: DNorm = Field(
        "batch",
        description="normalisation layers in the discriminator of fastgan and dcgan; none = no "
        "normalisation, only a learnt shift of each channel; chain = CHAIN (Ni and Koniusz "
        "2024), only with fastgan. This setting does not change the decoders, which always have "
        "batch normalisation",
    )
    d_slope: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="slope of the LeakyReLU for negative inputs, in the discriminator of fastgan "
        "and dcgan; 0 = ReLU",
    )
    d_mixdl: bool = Field(
        False,
        description="true = add a linear projection of the discriminator's last features, which "
        "MixDL trains to keep the distances between latents (Kong et al. 2022; see "
        "train.mixdl_d_weight)",
    )
    d_high_frequency: bool = frequency_fields.D_HIGH_FREQUENCY
    self_supervision: SelfSupervision = task_fields.SELF_SUPERVISION
    decode_full: bool = Field(
        True,
        description="true = train a decoder that reconstructs the picture from the "
        "discriminator's feature maps of 8 px (see self_supervision)",
    )
    decode_small: bool = Field(
        True,
        description="true = train a decoder that reconstructs the picture from the features of "
        "the discriminator's second branch (see d_small and self_supervision)",
    )
    decode_part: Literal["random", "centre", "none"] = Field(
        "random",
        description="which part of the picture a decoder reconstructs from the discriminator's "
        "feature maps of 16 px (see self_supervision): random = a quarter of the picture, chosen "
        "at random; centre = the quarter in the centre; none = do not train this decoder",
    )
    decoder_width: int = Field(
        32,
        ge=1,
        le=1024,
        description="base number of channels of the decoders (published: 32, for every ndf). The "
        "decoders' feature maps of 16 px have 4 times this number of channels, maps of 32 and 64 "
        "px twice this number, and maps of 128 px this number",
        json_schema_extra={"unit": "channels"},
    )
    spectral_norm: bool = Field(
        True,
        description="spectral normalisation of all convolutions in both networks (with sngan: "
        "only in the discriminator)",
    )
    dcgan_width: int = dcgan_fields.DCGAN_WIDTH
    dcgan_depth: int = dcgan_fields.DCGAN_DEPTH
    dcgan_upsampling: Literal["transposed", "nearest", "bilinear"] = dcgan_fields.DCGAN_UPSAMPLING
    dcgan_init: Literal["glorot", "normal"] = dcgan_fields.DCGAN_INIT

    @property
    def d_blocks(self) -> int:
        """The number of the discriminator's blocks before the last layers, which compute logits."""
        if self.projects:
            return halving_count(self.projected_maps[0])
        if self.architecture == "fastgan":
            return (min(self.resolution, 256) // 16).bit_length() + 1
        halvings = (self.resolution // 4).bit_length() - 1  # down to 4 px
        return halvings + (self.architecture == "sngan")

    @property
    def autoencodes(self) -> bool:
        """True if the discriminator has decoders, and `self_supervision` trains them."""
        has_decoders = self.architecture == "fastgan" and not self.projects
        return has_decoders and self.self_supervision.startswith("ae")

    @property
    def projects(self) -> bool:
        """True if D sees the features of a frozen pretrained network instead of pictures."""
        return self.discriminator == "projected"

    @property
    def network_input(self) -> tuple[int, int]:
        """The height and width of the pictures that the network of `d_features` sees."""
        return input_size(self.size, self.d_input_px)

    @property
    def projected_maps(self) -> list[tuple[int, int]]:
        """The height and width of each feature map that a projected D sees, largest map first."""
        return map_sizes(self.network_input)

    @property
    def task(self) -> str:
        """The discriminator's extra task besides reconstruction, e.g. "contrastive" or "insgen".

        If there is no such task, the value is "ae" or "none".
        """
        return self.self_supervision.removeprefix("ae_")

    @property
    def dropout(self) -> float:
        """The fraction of features that dropout removes before the discriminator's logits."""
        default = 0.4 if self.architecture == "dcgan" else 0.0
        return default if self.d_dropout is None else self.d_dropout

    @property
    def logits(self) -> int:
        """The number of logits that the discriminator computes for one picture.

        For a square picture, each branch of "fastgan" computes 5 x 5 logits. With
        `d_high_frequency`, there are 5 x 5 more for each level in `judged_sides`. Each of the four
        parts of a projected discriminator computes about 4 x 4 logits. The other architectures
        compute one logit.
        """
        if self.projects:
            return logit_count(self.projected_maps)
        if self.architecture != "fastgan":
            return 1
        height, width = self.map_size(8)
        judged = 1 + self.d_small + len(self.judged_sides)
        return judged * (height - 3) * (width - 3)

    @property
    def judged_sides(self) -> tuple[int, ...]:
        """The levels of the feature maps whose high frequencies D judges (see `map_size`).

        For a square picture, a level is the side of the map in px. The result is () if
        `d_high_frequency` is false; else it has at least two levels.
        """
        if not self.d_high_frequency:
            return ()
        return tuple(side for side in frequency_fields.JUDGED_SIDES if side <= self.resolution)

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of a generated picture in pixels."""
        return self.map_size(self.resolution)

    @property
    def proportions(self) -> tuple[int, int]:
        """The ratio of a picture's height to its width: two small whole numbers (height, width)."""
        return self.map_size(4)

    def map_size(self, level: int) -> tuple[int, int]:
        """Return the height and width, in px, of the feature maps at `level`.

        `level` is the side that the maps have if the picture is square.
        """
        columns, rows = ASPECTS[self.aspect]
        return rows * level // 4, columns * level // 4
