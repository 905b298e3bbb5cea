"""Align the high frequencies of G's feature maps with those of D's maps of real pictures.

Yang et al., "FreGAN: Exploiting Frequency Components for Training GANs under Limited Data" (NeurIPS
2022). G's loss gets one more term for the maps of 8, 16 and 32 px: the mean absolute difference
between the high frequencies of G's maps and of D's maps. D's maps are those of the real pictures in
D's last turn; they have no gradient. The i-th generated picture of a batch is compared with the
i-th real one.

With ngf = ndf, as published, the maps of both networks have the same number of channels. Otherwise
the narrower map's channels are repeated (`wavelets.matched`). A trained layer that matches the
channels could reduce this loss in place of the networks, so no such layer is used.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models.wavelets import high_frequencies, matched


def is_on(config: RunConfig) -> bool:
    """Return whether G's loss has the alignment in any step of a training."""
    return config.train.largest("alignment_weight") > 0


def distance(generated: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Compute the sum over sizes of the mean absolute difference of high frequencies: a scalar.

    `generated` and `real` have maps (B, C, H, W) of the same sizes in the same order; the numbers
    of channels may differ. Only `generated` gets a gradient.
    """
    return torch.stack([_l1(*maps) for maps in zip(generated, real, strict=True)]).sum()


def _l1(generated: Tensor, real: Tensor) -> Tensor:
    channels = max(generated.shape[1], real.shape[1])
    with torch.autocast(generated.device.type, enabled=False):
        both = (at_least_float32(maps) for maps in (generated, real.detach()))
        first, second = (matched(high_frequencies(maps), channels) for maps in both)
        return F.l1_loss(first, second)
