"""MixDL: mix latents, and make the similarities of features agree with the shares in a mixture.

Kong et al., "Few-shot Image Generation with Mixup-based Distance Learning" (ECCV 2022). With few
pictures, G makes almost the same picture from many latents, with jumps in between. MixDL mixes the
latents of a batch with random shares, and compares the features of each mixture with the features
of each latent. The larger the share of a latent in a mixture, the more similar the features of the
latent and of the mixture must be. In G, the features are the outputs of a random layer. In D, they
are a linear projection of D's last features of the generated pictures.

The paper mixes latents w of StyleGAN2, which have no fixed distribution. Here latents z are mixed,
which are N(0, 1). A weighted mean sum_i c_i z_i has only the variance sum_i c_i^2, so it is nearer
to 0 than the latents from which G learns. Therefore each mixture is divided by the square root of
sum_i c_i^2, and is N(0, 1) again.

As in the published code, there is one mixture and one random layer for each sample of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.distributed import ALONE, Group
from fastgan_ray.models import AnyDiscriminator

_TINY = 1e-30  # added to a uniform number, so that its logarithm is finite

Mixtures = Mapping[str, Tensor]


def is_on(config: RunConfig) -> bool:
    """Return whether MixDL is used in at least one step of a training, in D's or in G's loss."""
    return config.model.d_mixdl or config.train.largest("mixdl_g_weight") > 0


def is_due(step: int, config: RunConfig) -> bool:
    """Return whether `step` (counted from 0) computes the terms of MixDL."""
    return is_on(config) and step % config.train.mixdl_interval == 0


def draw(latents: Tensor, layers: int, rng: torch.Generator) -> Mixtures:
    """Draw mixtures of `latents` (B, nz), one for each sample of the batch, on the CPU.

    Returns a dictionary of three tensors:

    - "shares" (B, B): row m has the shares of all latents in mixture m, drawn from
      Dirichlet(1, ..., 1). Shares are at least 0, and the sum of a row is 1.
    - "latents" (B, nz): the mixtures.
    - "layers" (B,) int64: the index of G's layer for each mixture, from 0 to `layers` - 1.
    """
    count = len(latents)
    # Exponential numbers, divided by their sum, have this distribution.
    exponentials = -(torch.rand((count, count), generator=rng) + _TINY).log()
    shares = exponentials / exponentials.sum(dim=1, keepdim=True)
    return {
        "shares": shares,
        "latents": mixed(latents, shares),
        "layers": torch.randint(layers, (count,), generator=rng),
    }


def mixed(latents: Tensor, shares: Tensor) -> Tensor:
    """Mix `latents` (B, nz) with `shares` (M, B); return M mixtures (M, nz).

    If the latents are N(0, 1), the mixtures are also N(0, 1).
    """
    lengths: Tensor = torch.linalg.vector_norm(shares, dim=1, keepdim=True)
    return shares @ latents / lengths


@contextmanager
def recorded(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Record the outputs of `layers` within this context, in the order in which the layers run.

    The context yields the list to which the outputs are added.
    """
    outputs: list[Tensor] = []

    def keep(layer: nn.Module, inputs: object, output: Tensor) -> None:
        outputs.append(output)

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def divergence(mixtures: Tensor, samples: Tensor, shares: Tensor) -> Tensor:
    """Compute, for each mixture, how much similarities of features differ from the shares: (M,).

    `mixtures` (M, ...) and `samples` (B, ...) are features. `shares` (M, B) has the share of each
    sample in each mixture. Let p = softmax(shares) and q = softmax(cosine similarities of a mixture
    with each sample). The result is the Kullback-Leibler divergence sum_i p_i log(p_i / q_i), which
    is 0 or more.

    The published code takes the mean over i instead of the sum. So divide the published weight of
    MixDL by the published batch size to get the weight here.
    """
    with torch.autocast(samples.device.type, enabled=False):
        directions = [F.normalize(at_least_float32(x).flatten(1)) for x in (mixtures, samples)]
        log_q = F.log_softmax(directions[0] @ directions[1].T, dim=1)
        log_p = F.log_softmax(shares.to(log_q), dim=1)
        return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def generator_term(
    mixtures: Sequence[Tensor], samples: Sequence[Tensor], drawn: Mixtures, group: Group = ALONE
) -> Tensor:
    """Compute MixDL's term in G's loss, a scalar: the mean divergence over the mixtures.

    `mixtures` and `samples` are lists with the features (B, ...) of each layer, for the mixtures
    and for the latents. `drawn` is a result of `draw`. For each mixture, only the layer in `drawn`
    is used, so other layers get no gradient from it. Mixtures are compared with the latents of all
    processes of `group`.
    """
    each_LB = torch.stack(
        [
            divergence(of_mixtures, group.gather(of_samples), drawn["shares"])
            for of_mixtures, of_samples in zip(mixtures, samples, strict=True)
        ]
    )
    return each_LB.gather(0, drawn["layers"][None]).mean()


def discriminator_term(
    discriminator: AnyDiscriminator,
    mixtures: Tensor,
    samples: Tensor,
    drawn: Mixtures,
    group: Group = ALONE,
) -> Tensor:
    """Compute MixDL's term in D's loss, a scalar: the mean divergence of D's projections.

    `mixtures` and `samples` are pictures (B, C, H, W) generated from the mixtures and from the
    latents. `drawn` is a result of `draw`. Mixtures are compared with the latents of all processes
    of `group`.
    """
    of_both = discriminator.project(torch.cat([mixtures, samples]))
    of_mixtures, of_samples = at_least_float32(of_both).chunk(2)
    return divergence(of_mixtures, group.gather(of_samples), drawn["shares"]).mean()
