"""Adversarial losses, each a pair of functions of logits (B, L).

D's takes the logits of real and of generated pictures and a label for each, drawn from
U(1 - label_noise, 1); G's takes the logits of generated pictures. Both return a scalar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def hinge_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Published FastGAN: hinge with the labels as margins."""
    return F.relu(label_real - real).mean() + F.relu(label_fake + fake).mean()


def hinge_g(fake: Tensor) -> Tensor:
    """Minus the mean logit."""
    return -fake.mean()


def logistic_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Non-saturating GAN (Goodfellow et al. 2014), cross-entropy against soft labels."""
    return F.binary_cross_entropy_with_logits(
        real, label_real
    ) + F.binary_cross_entropy_with_logits(fake, 1 - label_fake)


def logistic_g(fake: Tensor) -> Tensor:
    """Non-saturating: -log D(G(z))."""
    return F.softplus(-fake).mean()


def least_squares_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """LSGAN (Mao et al. 2017) with targets 1 and 0, made soft by the labels."""
    return 0.5 * ((real - label_real).square().mean() + (fake - (1 - label_fake)).square().mean())


def least_squares_g(fake: Tensor) -> Tensor:
    """LSGAN's generator: the target 1."""
    return 0.5 * (fake - 1).square().mean()


def r1_penalty(real_logits: Tensor, real_images: Tensor) -> Tensor:
    """Half the mean squared gradient norm of each picture's mean logit (Mescheder et al. 2018)."""
    (gradient,) = torch.autograd.grad(real_logits.mean(dim=1).sum(), real_images, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


class Loss(NamedTuple):
    """One adversarial game."""

    discriminator: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


LOSSES: dict[str, Loss] = {
    "hinge": Loss(hinge_d, hinge_g),
    "logistic": Loss(logistic_d, logistic_g),
    "least_squares": Loss(least_squares_d, least_squares_g),
}
