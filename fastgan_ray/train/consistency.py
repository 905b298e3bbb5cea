"""Consistency regularisation of D under augmentation (bCR) and small changes of latents (zCR).

Zhao et al. 2021, "Improved Consistency Regularization for GANs", arXiv 2002.04724. Balanced
consistency (bCR): D's logits of two augmented views of the same picture must be alike, for real
and for generated pictures. Latent consistency (zCR): D's logits of pictures from two near latents
must be alike, but the pictures must differ, so that G uses its latents.

In the paper, bCR compares an augmented picture with the picture itself, because there D learns from
pictures without augmentation. Here D learns from augmented pictures, so the second view is another
augmentation by the same policy.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.config.training import TrainConfig
from fastgan_ray.train.state import TrainState
from fastgan_ray.train.views import Views


def logit_distance(first: Tensor, second: Tensor) -> Tensor:
    """Compute the mean squared difference of two logits (B, L) of the same pictures: a scalar."""
    return (first - second).square().mean()


def latent_sensitivity(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Compute minus the mean squared difference between pictures from near latents: a scalar.

    This is zCR's term in G's loss. Each argument is an output of G: pictures of full size
    (B, C, H, W) and small pictures. Only the pictures of full size are compared.
    """
    difference = at_least_float32(first[0]) - at_least_float32(second[0])
    return -difference.square().mean()


def d_terms(
    state: TrainState, views: Views, real: Tensor, fake: Tensor, train: TrainConfig
) -> dict[str, tuple[float, Tensor]]:
    """Return {name: (weight, term)} of bCR and zCR in D's loss; empty if both are off.

    `real` and `fake` are D's logits (B, L) of the pictures on which D is trained.
    """
    compared = {
        "bcr_real": (train.bcr_real_weight, views.second_real, real),
        "bcr_fake": (train.bcr_fake_weight, views.second_fake, fake),
        "zcr_d": (train.zcr_d_weight, views.near, fake),
    }
    terms = {}
    for name, (weight, images, logits) in compared.items():
        if train.largest(f"{name}_weight") > 0:
            others = at_least_float32(state.discriminator(*images, rng=state.rngs["dropout"])[0])
            terms[name] = (weight, logit_distance(logits, others))
    return terms
