"""Compute the consistency losses bCR (for augmentations) and zCR (for small changes of latents).

Zhao et al. 2021, "Improved Consistency Regularization for GANs", arXiv 2002.04724.

Balanced consistency (bCR) changes D's loss. D's logits must be similar for two augmented views of
the same picture. There is one term for real pictures and one for generated pictures.

Latent consistency (zCR) changes D's and G's loss. Pictures are generated from two latents that are
near to each other. D's logits of the two pictures must be similar. But the two pictures must
differ; otherwise G could ignore its latents.

In the paper, D learns from pictures without augmentation, and bCR compares an augmented picture
with the picture before augmentation. Here D learns from augmented pictures, so bCR compares two
different augmentations by the same policy.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.config.training import TrainConfig
from fastgan_ray.train.state import TrainState
from fastgan_ray.train.views import Views


def logit_distance(first: Tensor, second: Tensor) -> Tensor:
    """Compute the mean squared difference of two sets of logits (B, L), as a scalar.

    Row i of `first` and row i of `second` are D's logits of two pictures that must look alike to D.
    """
    return (first - second).square().mean()


def latent_sensitivity(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Compute zCR's term in G's loss, as a scalar.

    It is minus the mean squared difference between pictures from latents that are near to each
    other. `first` and `second` are G's outputs for the two sets of latents: full pictures (B, C, H,
    W) and small pictures (B, C, h, w). Only the full pictures are compared.
    """
    difference = at_least_float32(first[0]) - at_least_float32(second[0])
    return -difference.square().mean()


def d_terms(
    state: TrainState, views: Views, real: Tensor, fake: Tensor, train: TrainConfig
) -> dict[str, tuple[float, Tensor]]:
    """Return the terms of bCR and zCR in D's loss by name, each as a pair (weight, scalar).

    A term whose weight is always 0 is left out. `real` and `fake` are D's logits (B, L) of the
    pictures on which D is trained. This function computes D's logits of other pictures in `views`,
    and compares these logits with `real` and `fake`.
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
