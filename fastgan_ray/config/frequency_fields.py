"""The fields for FreGAN (Yang et al. 2022) in `ModelConfig` and `TrainConfig`, and their rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

if TYPE_CHECKING:
    from fastgan_ray.config.model import ModelConfig
    from fastgan_ray.config.training import TrainConfig

G_WAVELET_SKIPS: Any = Field(
    False,
    description="frequency skips in fastgan's generator: the high frequencies (Haar wavelets) of "
    "the maps of 8, 16 and 32 px are added to the inputs of the blocks of 32, 64 and 128 px, as "
    "far as resolution has these blocks (FreGAN, Yang et al. 2022)",
)
D_HIGH_FREQUENCY: Any = Field(
    False,
    description="fastgan's discriminator also judges the high frequencies (Haar wavelets) of its "
    "feature maps of 64, 32 and 16 px, by its later blocks; with resolution 32 those of 32 and 16 "
    "px (FreGAN, Yang et al. 2022)",
)
ALIGNMENT_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of FreGAN's alignment in the generator's loss: the high frequencies of the "
    "generator's maps of 8, 16 and 32 px must be near those of the discriminator's maps of real "
    "pictures (Yang et al. 2022 used 1); 0 = off",
)

# The sides, in px, of the generator's maps whose high frequencies are passed on and aligned.
SIDES = (8, 16, 32)
# The sides of the discriminator's maps whose high frequencies are judged; the largest first.
JUDGED_SIDES = (64, 32, 16)


def judged_sides(model: ModelConfig) -> tuple[int, ...]:
    """Return the sides of D's maps whose high frequencies D judges; () if it judges none.

    The maps have these sides if the picture is square. All resolutions have at least two of them.
    """
    if not model.d_high_frequency:
        return ()
    return tuple(side for side in JUDGED_SIDES if side <= model.resolution)


def broken_frequency_rule(model: ModelConfig) -> str:
    """Return the first rule about the fields of `ModelConfig` that it breaks; "" if none."""
    if model.g_wavelet_skips and model.architecture != "fastgan":
        return (
            "g_wavelet_skips must be false unless architecture is fastgan, because it connects "
            f"the blocks of fastgan's generator (got architecture {model.architecture})"
        )
    if model.d_high_frequency and not _has_fastgan_discriminator(model):
        return (
            "d_high_frequency can be true only with architecture fastgan and its own "
            "discriminator, whose later blocks judge the high frequencies (got architecture "
            f"{model.architecture}, discriminator {model.discriminator})"
        )
    return ""


def broken_alignment_rule(train: TrainConfig, model: ModelConfig) -> str:
    """Return the rule about the alignment that the settings break; "" if they break none."""
    if train.largest("alignment_weight") > 0 and not _has_fastgan_discriminator(model):
        return (
            "alignment_weight must be 0 unless model.architecture is fastgan with its own "
            "discriminator, because it compares the feature maps of fastgan's two networks (got "
            f"alignment_weight {train.largest('alignment_weight'):g}, architecture "
            f"{model.architecture}, discriminator {model.discriminator})"
        )
    return ""


def _has_fastgan_discriminator(model: ModelConfig) -> bool:
    return model.architecture == "fastgan" and not model.projects
