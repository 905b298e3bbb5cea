"""LeCam regularisation: keep D's logits near the moving averages of its own logits.

Tseng et al. 2021, "Regularizing Generative Adversarial Networks under Limited Data". With few
pictures, D's logits of real and of generated pictures move apart; the penalty limits how far. The
state is on the training's device, so that no step waits for it. Checkpoints store it exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class LecamState:
    """Decaying sums of D's mean logits of real and of generated pictures, and of their weights.

    All are scalars. The moving averages are `real` / `weight` and `fake` / `weight`. After t steps,
    `weight` is 1 - decay^t, which removes the bias of the first steps, as in Adam.
    """

    real: Tensor
    fake: Tensor
    weight: Tensor


def lecam_state(
    device: torch.device, real: float = 0.0, fake: float = 0.0, weight: float = 0.0
) -> LecamState:
    """Return a state on `device`; by default, it is the state before the first step."""
    return LecamState(*torch.tensor([real, fake, weight], device=device).unbind())


def update(state: LecamState, means: Tensor, decay: float) -> LecamState:
    """Compute LeCam's state after a training step from the state before it.

    `means` (2,) are D's mean logits of the real and of the generated pictures of the step's batch.
    The sums in `state` are multiplied by `decay`, which is from 0 to below 1; `means` are added
    with the weight 1 - decay.
    """
    new = torch.cat([means.detach(), means.new_ones(1)])
    old = torch.stack([state.real, state.fake, state.weight])
    return LecamState(*torch.lerp(new, old, decay).unbind())


def penalty(real: Tensor, fake: Tensor, state: LecamState) -> Tensor:
    """Compute LeCam's penalty on D's logits, as a scalar.

    `real` and `fake` are logits (B, ...) of real and of generated pictures. If a real picture's
    logit is above the average logit of generated pictures, the penalty is the squared difference.
    If a generated picture's logit is below the average logit of real pictures, the penalty is the
    squared difference, too. Otherwise the penalty is 0. The averages have no gradient.
    """
    average_real, average_fake = state.real / state.weight, state.fake / state.weight
    return F.relu(real - average_fake).square().mean() + F.relu(average_real - fake).square().mean()
