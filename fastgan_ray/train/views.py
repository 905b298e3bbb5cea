"""Make the pictures that D sees in one turn: generate, mix and augment them.

D sees each picture at two sizes, full (B, C, H, W) and small (B, C, h, w), with the same
augmentation, in float32. In one turn, D trains once on one batch (see `draws`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan_ray.arithmetic import at_least_float32
from fastgan_ray.augment import diffusion, mixing, pipeline
from fastgan_ray.augment.pipeline import Draw
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.models import small_size
from fastgan_ray.train import alignment, instances, mixdl
from fastgan_ray.train.draws import Turn
from fastgan_ray.train.mixdl import Mixtures
from fastgan_ray.train.state import TrainState

Sizes = Sequence[Tensor]


class Views(NamedTuple):
    """The pictures of one turn.

    Most fields are lists with the full pictures (B, C, H, W) and the small pictures (B, C, h, w). A
    field that no loss needs is empty.
    """

    real: Sizes
    """Real pictures, on which D is trained."""
    fake: Sizes
    """Generated pictures, with which G is trained. In D's last turn of a step, they have an
    autograd graph to G's weights."""
    fake_for_d: Sizes
    """Generated pictures, on which D is trained: the same as `fake`, except that with ANDA some of
    them contain a part of a real picture."""
    second_real: Sizes = ()
    """The same real pictures as in `real`, augmented in another way, for bCR."""
    second_fake: Sizes = ()
    """The same pictures as in `fake_for_d`, augmented in another way, for bCR."""
    near: Sizes = ()
    """Pictures generated from latents near those of `fake`, and augmented like `fake`, for zCR."""
    outputs: Sizes = ()
    """G's pictures before augmentation, for zCR and AugSelf-GAN."""
    near_outputs: Sizes = ()
    """G's pictures from latents near those of `outputs`, before augmentation, for zCR."""
    plain: Sizes = ()
    """The pictures of `real` and those of `fake_for_d`, both at full size and before augmentation,
    for AugSelf-GAN."""
    targets: Sizes = ()
    """What D must predict of `real` and of `fake` in AugSelf-GAN (see `draws.Turn`)."""
    mixed: Sizes = ()
    """Pictures generated from mixtures of latents, augmented like `fake`, for MixDL in D."""
    features: Sizes = ()
    """G's feature maps (B, C, H, W) of `outputs`, layer by layer, for MixDL in G and for the
    alignment of high frequencies."""
    mixed_features: Sizes = ()
    """G's feature maps of the mixtures of latents, layer by layer, for MixDL in G."""
    mixtures: Mixtures = MappingProxyType({})
    """The numbers with which latents were mixed (`mixdl.draw`)."""
    keys: Mapping[str, Tensor] = MappingProxyType({})
    """For InsGen and FakeCLR, the keys (B, 128) of a second view of each picture, by kind."""


def views_of(
    state: TrainState, pictures: Tensor, turn: Turn, config: RunConfig, with_graph: bool
) -> Views:
    """Return all pictures of a turn, made from real `pictures` (B, C, H, W) in [-1, 1].

    `turn` has the random numbers. If `with_graph`, generated pictures have an autograd graph to G's
    weights.
    """
    train = config.train
    near_outputs: Sizes = ()
    due = mixdl.is_due(state.step, config)
    for_g = due and with_graph and train.largest("mixdl_g_weight") > 0
    aligns = with_graph and alignment.is_on(config)
    layers = state.generator.feature_layers() if for_g or aligns else ()
    with torch.set_grad_enabled(with_graph):
        with mixdl.recorded(layers) as features:
            outputs = generate(state, turn.latents)
        fake = fake_for_d = seen(state, outputs, turn.fake, config)
        if train.uses_near_latents:
            near_outputs = generate(state, *turn.near_latents)
    p, negatives = state.ada.p, outputs
    if "anda" in turn.fake:
        chosen = mixing.gate(turn.fake["anda"], p)["chosen"]
        negatives = mixing.augmented_negatives(outputs, pictures, chosen)
        fake_for_d = seen(state, negatives, turn.fake, config)
    if "apa" in turn.real:
        chosen = mixing.gate(turn.real["apa"], p)["chosen"]
        pictures = mixing.pseudo_real(pictures, outputs[0], chosen)
    views = Views(augment_real(state, pictures, turn.real, config), fake, fake_for_d)
    if train.largest("bcr_real_weight") > 0:
        views = views._replace(second_real=augment_real(state, pictures, turn.second_real, config))
    if train.largest("bcr_fake_weight") > 0:
        second = seen(state, detached(negatives), turn.second_fake, config)
        views = views._replace(second_fake=second)
    if train.largest("zcr_d_weight") > 0:
        views = views._replace(near=seen(state, detached(near_outputs), turn.fake, config))
    if config.model.task == "augself":
        plain = [at_least_float32(images) for images in detached([pictures, negatives[0]])]
        views = views._replace(plain=plain, targets=turn.targets)
    if for_g or (due and config.model.d_mixdl):
        recorded = mixdl.recorded(layers if for_g else ())
        with torch.set_grad_enabled(for_g), recorded as mixed_features:
            mixed = generate(state, turn.mixtures["latents"])
        views = views._replace(mixtures=turn.mixtures, mixed_features=mixed_features)
        if config.model.d_mixdl:
            views = views._replace(mixed=seen(state, detached(mixed), turn.fake, config))
    keys = keys_of(state, pictures, turn, config)
    return views._replace(outputs=outputs, near_outputs=near_outputs, features=features, keys=keys)


@torch.no_grad()
def keys_of(
    state: TrainState, pictures: Tensor, turn: Turn, config: RunConfig
) -> dict[str, Tensor]:
    """Return the keys of a turn for InsGen or FakeCLR: embeddings of second views of pictures.

    `pictures` are real pictures (B, C, H, W). For each kind, "fake" and "real", the result has the
    keys (B, 128). FakeCLR has no kind "real". Without these tasks, the result is {}.
    """
    keys = {}
    for kind, drawn in turn.key_draws.items():
        assert state.instances is not None
        source = [pictures] if kind == "real" else generate(state, *turn.key_latents)[:1]
        (second,) = seen(state, source, drawn, config)
        keys[kind] = instances.key_of(state.instances, second, kind)
    return keys


def generate(state: TrainState, latents: Tensor) -> Sizes:
    """Generate pictures from `latents` (B, nz); return G's outputs, before any augmentation.

    The outputs are the full pictures (B, C, H, W) and the small pictures (B, C, h, w).
    """
    pictures: Sizes = state.generator(latents, state.rngs["noise"])
    return pictures


def seen(state: TrainState, outputs: Sizes, drawn: Draw, config: RunConfig) -> list[Tensor]:
    """Return generated pictures as D sees them: augmented, and with noise if noise is on.

    `outputs` are G's outputs at two sizes. Both get the same random numbers `drawn`, but different
    noise.
    """
    return _noisy(state, augmented(outputs, drawn, state.ada.p), drawn, config)


def augment_real(
    state: TrainState, pictures: Tensor, drawn: Draw, config: RunConfig
) -> list[Tensor]:
    """Augment real `pictures` (B, C, H, W); return them at the two sizes that D sees.

    The sizes are full (B, C, H, W) and small (B, C, h, w). If noise is on, it is added.
    """
    (full,) = augmented([pictures], drawn, state.ada.p)
    return _noisy(state, [full, F.interpolate(full, size=small_size(config.model))], drawn, config)


def augmented(images: Sequence[Tensor], drawn: Draw, p: Tensor) -> list[Tensor]:
    """Augment pictures (B, C, H, W) of several sizes with the same random numbers `drawn`.

    The result is float32. `p` is the probability of the adaptive operations.
    """
    with torch.autocast(images[0].device.type, enabled=False):
        parameters = pipeline.gate(drawn, p)
        return [pipeline.apply(at_least_float32(image), parameters) for image in images]


def detached(images: Sizes) -> list[Tensor]:
    """Return the pictures without their autograd graph."""
    return [image.detach() for image in images]


def _noisy(state: TrainState, images: list[Tensor], drawn: Draw, config: RunConfig) -> list[Tensor]:
    """Add the Gaussian noise of `train.instance_noise` and of Diffusion-GAN, if they are on.

    Instance noise (Sonderby et al. 2017) has the same strength for all pictures. The noise is drawn
    on the device. The two sizes of a picture get different noise.
    """
    if config.train.largest("instance_noise") > 0:
        images = [image + config.train.instance_noise * _noise(state, image) for image in images]
    if "diffusion" in drawn:
        factors = diffusion.gate(drawn["diffusion"], state.ada.p)
        of_picture, of_noise = (factors[name][:, None, None, None] for name in ("picture", "noise"))
        images = [of_picture * image + of_noise * _noise(state, image) for image in images]
    return images


def _noise(state: TrainState, like: Tensor) -> Tensor:
    """Draw noise from N(0, 1) for this process's pictures, in the shape and type of `like`."""
    rng, group = state.rngs["instance_noise"], state.group
    shape = (group.size * like.shape[0], *like.shape[1:])
    return group.local_rows(torch.randn(shape, generator=rng, device=rng.device)).to(like)
