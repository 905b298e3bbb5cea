"""Adversarial losses, each a pair of functions of logits (B, L), and gradient penalties.

D's function takes the logits of real and of generated pictures and a label for each, drawn from
U(1 - label_noise, 1); G's takes the logits of generated pictures, and of real ones if the loss is
`paired`. All return a scalar.

A penalty takes logits (B, L) and the tensors (B, ...) that they were computed from. It looks at the
slope of each picture's mean logit; where batch normalisation couples pictures, at the batch's sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Penalty = Callable[[Tensor, Sequence[Tensor]], Tensor]
# Under the root of a norm, whose derivative at 0 would be infinite.
_TINY = 1e-12


def hinge_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Published FastGAN: hinge with the labels as margins."""
    return F.relu(label_real - real).mean() + F.relu(label_fake + fake).mean()


def minus_mean_g(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Minus the mean logit: G's side of the hinge and of the Wasserstein loss."""
    return -fake.mean()


def logistic_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Non-saturating GAN (Goodfellow et al. 2014), cross-entropy against soft labels."""
    return F.binary_cross_entropy_with_logits(
        real, label_real
    ) + F.binary_cross_entropy_with_logits(fake, 1 - label_fake)


def logistic_g(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Non-saturating: -log D(G(z))."""
    return F.softplus(-fake).mean()


def least_squares_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """LSGAN (Mao et al. 2017) with targets 1 and 0, made soft by the labels."""
    return 0.5 * ((real - label_real).square().mean() + (fake - (1 - label_fake)).square().mean())


def least_squares_g(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """LSGAN's generator: the target 1."""
    return 0.5 * (fake - 1).square().mean()


def wasserstein_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """Wasserstein critic (Arjovsky et al. 2017): the difference of means; takes no labels."""
    return fake.mean() - real.mean()


def relativistic_d(real: Tensor, fake: Tensor, label_real: Tensor, label_fake: Tensor) -> Tensor:
    """RpGAN (Jolicoeur-Martineau 2019; R3GAN, 2501.05441): each real logit above a fake one's.

    The i-th real picture is paired with the i-th generated; takes no labels.
    """
    return F.softplus(fake - real).mean()


def relativistic_g(fake: Tensor, real: Tensor | None = None) -> Tensor:
    """RpGAN's generator: each generated picture's logit above its real partner's."""
    assert real is not None
    return F.softplus(real - fake).mean()


def at_least_float32(values: Tensor) -> Tensor:
    """In float32 at least: bfloat16 is for the networks, not for what is made of their outputs."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def squared_gradient_norms(logits: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Squared gradient norm of each picture's mean logit in all `inputs`: (B,), with a graph."""
    gradients = torch.autograd.grad(
        logits.mean(dim=1).sum(),
        list(inputs),
        create_graph=True,
        materialize_grads=True,  # a D that does not look at an input has no slope there
    )
    return torch.stack([at_least_float32(g).square().flatten(1).sum(dim=1) for g in gradients]).sum(
        dim=0
    )


def zero_centred_penalty(logits: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Half the mean squared slope (Mescheder et al. 2018): R1 on real pictures, R2 on generated."""
    return 0.5 * squared_gradient_norms(logits, inputs).mean()


def one_centred_penalty(logits: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Mean squared distance of the slope from 1 (WGAN-GP, Gulrajani et al. 2017)."""
    return ((squared_gradient_norms(logits, inputs) + _TINY).sqrt() - 1).square().mean()


def interpolate(real: Sequence[Tensor], fake: Sequence[Tensor], shares_B: Tensor) -> list[Tensor]:
    """Pictures between real ones (share 1) and generated (0), as leaves that take a gradient.

    The same share for all of a picture's sizes.
    """
    return [
        torch.lerp(at_least_float32(b), at_least_float32(a), shares_B[:, None, None, None])
        .detach()
        .requires_grad_()
        for a, b in zip(real, fake, strict=True)
    ]


def contrastive(first_BK: Tensor, second_BK: Tensor, temperature: float) -> Tensor:
    """NT-Xent (Chen et al. 2020): find each view's partner among all other views, 2B - 1 of them.

    Row i of both is an embedding of picture i. ValueError for fewer than two pictures.
    """
    count = len(first_BK)
    if count < 2:
        raise ValueError(f"the contrastive loss needs at least 2 pictures a batch (got {count})")
    views = F.normalize(torch.cat([first_BK, second_BK]), dim=1)
    itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    similarities = (views @ views.T / temperature).masked_fill(itself, -torch.inf)
    partners = torch.arange(2 * count, device=views.device).roll(count)
    return F.cross_entropy(similarities, partners)


class Loss(NamedTuple):
    """One adversarial game."""

    discriminator: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    paired: bool = False
    """G's function needs the logits of real pictures, too."""
    penalty: Penalty | None = None
    """Part of D's loss: of the slope between real and generated pictures."""
    boundary: float | None = 0.0
    """The logit of an undecided D; None: only a difference to generated pictures says anything."""


LOSSES: dict[str, Loss] = {
    "hinge": Loss(hinge_d, minus_mean_g),
    "logistic": Loss(logistic_d, logistic_g),
    "least_squares": Loss(least_squares_d, least_squares_g, boundary=0.5),
    "wasserstein": Loss(wasserstein_d, minus_mean_g, penalty=one_centred_penalty, boundary=None),
    "relativistic": Loss(relativistic_d, relativistic_g, paired=True, boundary=None),
}
