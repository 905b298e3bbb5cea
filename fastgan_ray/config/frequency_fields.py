"""The fields for FreGAN (Yang et al. 2022) in `ModelConfig` and `TrainConfig`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

G_WAVELET_SKIPS: Any = Field(
    False,
    description="true = add frequency skips to fastgan's generator: the high frequencies (Haar "
    "wavelets) of the feature maps of 8, 16 and 32 px are added to the inputs of the blocks of "
    "32, 64 and 128 px. Blocks above resolution do not exist (FreGAN, Yang et al. 2022)",
)
D_HIGH_FREQUENCY: Any = Field(
    False,
    description="true = fastgan's discriminator also computes logits from the high frequencies "
    "(Haar wavelets) of its feature maps of 64, 32 and 16 px, or of 32 and 16 px if resolution "
    "is 32. The high frequencies pass through its later blocks (FreGAN, Yang et al. 2022)",
)
ALIGNMENT_WEIGHT: Any = Field(
    0.0,
    ge=0,
    description="weight of FreGAN's alignment in the generator's loss: the mean absolute "
    "difference between the high frequencies of the generator's feature maps of 8, 16 and 32 px "
    "and those of the discriminator's feature maps of real pictures (Yang et al. 2022 used 1); 0 "
    "= off",
)

# The sides, in px, of the generator's maps whose high frequencies are passed on and aligned.
SIDES = (8, 16, 32)
# The sides of the discriminator's maps whose high frequencies are judged; the largest first.
JUDGED_SIDES = (64, 32, 16)
