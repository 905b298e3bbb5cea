"""Choose how much noise Diffusion-GAN adds to each picture (Wang et al., ICLR 2023, 2206.02262).

Let x be a real or a generated picture. D sees sqrt(a_t) x + sqrt(1 - a_t) * DEVIATION * noise
instead. Here a_t is the product of 1 - beta_s over the steps s = 1..t, and beta_s rises linearly
with s. For half of the pictures t is 0, which means no noise. For the other half, t is drawn from
1..T with a probability proportional to t. T rises with the adaptive probability p (see `ada`).
"""

from __future__ import annotations

import torch
from torch import Tensor

Parameters = dict[str, Tensor]

DEVIATION = 0.05  # standard deviation of the noise; pixels are in [-1, 1]
BETAS = 1e-4, 2e-2  # beta of the first and of the last step
STEPS = 10, 1000  # T at p = 0 and at p = 1
CLEAN = 0.5  # the probability that t is 0


def draw(count: int, rng: torch.Generator) -> Parameters:
    """Draw two numbers from U(0, 1) for each of B = `count` pictures: {"noisy", "step"}, (B,) each.

    In `steps`, "noisy" decides whether a picture gets noise, and "step" decides how much.
    """
    uniform = torch.rand((2, count), generator=rng)
    return {"noisy": uniform[0], "step": uniform[1]}


def gate(drawn: Parameters, p: Tensor | float) -> Parameters:
    """Return the factors of each picture and of its noise: {"picture", "noise"}, (B,) each.

    `drawn` is a result of `draw`, and `p` is from 0 to 1. The factors are sqrt(a_t) and
    sqrt(1 - a_t) * DEVIATION.
    """
    step = steps(drawn, p)
    device = step.device
    kept = (1 - torch.linspace(*BETAS, STEPS[1], device=device)).cumprod(0)
    kept = torch.cat([torch.ones(1, device=device), kept])[step]
    return {"picture": kept.sqrt(), "noise": DEVIATION * (1 - kept).sqrt()}


def steps(drawn: Parameters, p: Tensor | float) -> Tensor:
    """Return the number t of diffusion steps for each picture, (B,) int64.

    With probability CLEAN, t is 0. Otherwise t is from 1 to T, with a probability proportional to
    t. A number u from U(0, 1) becomes the smallest t with t (t + 1) >= u T (T + 1).
    """
    low, high = STEPS
    uniform = drawn["step"]
    last = torch.round(low + (high - low) * torch.as_tensor(p)).to(uniform.dtype)
    step = ((1 + 4 * uniform * last * (last + 1)).sqrt() - 1) / 2
    step = torch.minimum(step.ceil().clamp(min=1), last)
    return torch.where(drawn["noisy"] < CLEAN, 0.0, step).long()
