"""LeCam regularisation: keep D's logits near moving averages of its earlier logits.

Tseng et al. 2021, "Regularizing Generative Adversarial Networks under Limited Data". With few
pictures, D's logits of real and of generated pictures move apart. The penalty limits the
difference. The state is on the training's device, so no step waits for the device. Checkpoints
store the state exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class LecamState:
    """Decaying sums of D's mean logits of real and of generated pictures, and a sum of weights.

    All are scalars. The moving averages are `real` / `weight` and `fake` / `weight`. After t turns
    of D, `weight` is 1 - decay^t if the decay is constant. The division removes the bias of the
    first turns, as in Adam.
    """

    real: Tensor
    fake: Tensor
    weight: Tensor


def lecam_state(
    device: torch.device, real: float = 0.0, fake: float = 0.0, weight: float = 0.0
) -> LecamState:
    """Return a state on `device`; the default values are the state before the first step."""
    return LecamState(*torch.tensor([real, fake, weight], device=device).unbind())


def update(state: LecamState, means: Tensor, decay: float) -> LecamState:
    """Return LeCam's state after a turn of D; `state` is the state before this turn.

    `means` (2,) are D's mean logits of the real and of the generated pictures of the batch. The
    three sums in `state` are multiplied by `decay`, where 0 <= `decay` < 1. Then
    (1 - `decay`) x `means` is added to `real` and `fake`, and 1 - `decay` is added to `weight`.
    """
    new = torch.cat([means.detach(), means.new_ones(1)])
    old = torch.stack([state.real, state.fake, state.weight])
    return LecamState(*torch.lerp(new, old, decay).unbind())


def penalty(real: Tensor, fake: Tensor, state: LecamState) -> Tensor:
    """Compute LeCam's penalty on D's logits, as a scalar.

    `real` and `fake` are logits (B, ...) of real and of generated pictures. For a real picture, the
    penalty is relu(logit - average logit of generated pictures)^2. For a generated picture, it is
    relu(average logit of real pictures - logit)^2. The result is the mean over real pictures plus
    the mean over generated pictures. The averages are the moving averages of `state` and have no
    gradient.
    """
    average_real, average_fake = state.real / state.weight, state.fake / state.weight
    return F.relu(real - average_fake).square().mean() + F.relu(average_real - fake).square().mean()
