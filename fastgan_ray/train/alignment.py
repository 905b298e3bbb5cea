"""FreGAN's alignment: make high frequencies of G's feature maps similar to those of D's.

Yang et al., "FreGAN: Exploiting Frequency Components for Training GANs under Limited Data" (NeurIPS
2022). G's loss gets one more term, which compares the maps of 8, 16 and 32 px. For each size, the
mean absolute difference between the high frequencies of G's map and of D's map is computed. The
term is the sum over the sizes. D's maps come from the last batch of real pictures on which D was
trained; these maps have no gradient. The i-th generated picture of a batch is compared with the
i-th real picture.

In the paper, ngf = ndf, so the maps of both networks have the same number of channels. If the
numbers differ, the channels of the narrower map are repeated (`wavelets.matched`). A trained layer
could adapt the number of channels, but its training would reduce the loss without changing G.
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
    """Return whether G's loss includes the alignment term in at least one step of a training."""
    return config.train.largest("alignment_weight") > 0


def distance(generated: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Compute how much the high frequencies of two lists of feature maps differ, as a scalar.

    The result is the mean absolute difference for each size, summed over the sizes. `generated` and
    `real` are lists of maps (B, C, H, W), with the same sizes in the same order. The number of
    channels may differ. Only `generated` gets a gradient.
    """
    return torch.stack([_l1(*maps) for maps in zip(generated, real, strict=True)]).sum()


def _l1(generated: Tensor, real: Tensor) -> Tensor:
    channels = max(generated.shape[1], real.shape[1])
    with torch.autocast(generated.device.type, enabled=False):
        both = (at_least_float32(maps) for maps in (generated, real.detach()))
        first, second = (matched(high_frequencies(maps), channels) for maps in both)
        return F.l1_loss(first, second)
